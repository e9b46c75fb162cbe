"""Small drawn "photos" of thirty kinds of places, for the demo dataset that comes with the kit.

The drawings are stand-ins: they let anyone run the whole pipeline (scene classifier, then private/public layer)
without downloading a photo, and they prove only that the pipeline works. They are never evidence about the paper.

`draw_scene` makes one photo. All randomness comes from the generator it is given and no font is used, so the
same generator state and arguments give the same pixels everywhere.

The modules run from tools to pictures, and each knows only those before it: chance, colors, props, canvas,
outdoors, perspective, rooms; the places (nature, town, public_rooms, home_rooms); people, camera.
"""

from collections.abc import Callable, Iterable

from PIL import Image

from s2p_lib.demo_scenes import home_rooms, nature, public_rooms, town
from s2p_lib.demo_scenes.camera import SUPERSAMPLE, photograph
from s2p_lib.demo_scenes.canvas import Canvas
from s2p_lib.demo_scenes.chance import Rng
from s2p_lib.demo_scenes.people import PEOPLE

__all__ = ["SCENES", "draw_scene"]

SCENES: dict[str, Callable[[Canvas, Rng], None]] = {
    "beach": nature.beach,
    "mountain_snowy": nature.mountain_snowy,
    "forest_path": nature.forest_path,
    "street": town.street,
    "highway": town.highway,
    "skyscraper": town.skyscraper,
    "harbor": town.harbor,
    "playground": town.playground,
    "desert/sand": nature.desert,
    "ski_slope": nature.ski_slope,
    "stadium/soccer": town.soccer_stadium,
    "lighthouse": nature.lighthouse,
    "windmill": nature.windmill,
    "swimming_pool/outdoor": town.swimming_pool,
    "gymnasium/indoor": public_rooms.gymnasium,
    "classroom": public_rooms.classroom,
    "office": public_rooms.office,
    "conference_room": public_rooms.conference_room,
    "supermarket": public_rooms.supermarket,
    "library/indoor": public_rooms.library,
    "church/indoor": public_rooms.church,
    "mosque/outdoor": town.mosque,
    "temple/asia": town.temple,
    "basement": home_rooms.basement,
    "bathroom": home_rooms.bathroom,
    "bedroom": home_rooms.bedroom,
    "living_room": home_rooms.living_room,
    "kitchen": home_rooms.kitchen,
    "childs_room": home_rooms.childs_room,
    "hospital_room": home_rooms.hospital_room,
}


def draw_scene(scene: str, rng: Rng, size: tuple[int, int], people: str) -> Image.Image:
    """Draw one photo of a kind of place.

    Parameters
    ----------
    scene : str
        A Places365 name, one of SCENES. "basement" is drawn as an escape room.
    rng : numpy.random.Generator
        The only source of randomness.
    size : (int, int)
        Width and height in pixels, any aspect.
    people : str
        "none", "one" (one big figure in the foreground) or "group" (3 to 7 smaller ones).

    Returns
    -------
    PIL.Image.Image
        An RGB image of exactly `size`.

    Raises
    ------
    ValueError
        If scene or people is unknown.
    """
    _check("scene", scene, SCENES)
    _check("people", people, PEOPLE)
    canvas = Canvas(Image.new("RGB", (size[0] * SUPERSAMPLE, size[1] * SUPERSAMPLE)))
    SCENES[scene](canvas, rng)
    canvas.tint = tuple(0.5 + 0.5 * t for t in canvas.tint)  # a flash: people stay visible at night
    PEOPLE[people](canvas, rng)
    return photograph(canvas.image, rng, size)


def _check(name: str, value: str, allowed: Iterable[str]) -> None:
    """Raise ValueError that names what came and what is allowed."""
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; allowed are {', '.join(allowed)}")
