"""What card and released code leave open or tell differently, and what this kit assumes."""

from dataclasses import dataclass

from s2p_lib.run_folder import RunFolder


@dataclass(frozen=True)
class OpenQuestion:
    """A detail that card and code leave open or tell differently, the assumption taken, and its place in our code."""

    question: str
    assumption: str
    place: str


OPEN_QUESTIONS = (
    OpenQuestion(
        "Is the backbone frozen? The card says so; the released code leaves BatchNorm in train mode, so its running "
        "statistics are re-estimated in every epoch (the 732 parameters are the only others that change). After one "
        "epoch on IPD, about 185 batches, those of Places365 weigh 0.9^185, less than one in a hundred million.",
        "Both: bn_mode=frozen (the default) does what the card says, bn_mode=released what the code does. The "
        "published 80.45 balanced accuracy belongs to the released code, so to re-estimated statistics: compare it "
        "with a run in released mode, and expect another figure from a frozen one. bn_mode=adapted tells how much of "
        "the difference the statistics of the photos alone explain. The scene logits of a released checkpoint are "
        "those of the changed statistics, not of Places365.",
        "protocols.py, batchnorm.py",
    ),
    OpenQuestion(
        "Which measure stops training? The card names balanced accuracy.",
        "As released: the plateau scheduler follows the validation loss and training ends when the learning rate falls "
        "below 1e-5; balanced accuracy only picks the kept epoch, the later one of equals.",
        "training.py: fit, Course",
    ),
    OpenQuestion(
        "Where does the split come from? The card says stratified K-fold with K = 3, but the test part is 20.0 % of "
        "all photos and exactly one third private, which no fold of K = 3 gives; an earlier, separate split made it.",
        "The published fold columns are used as they are. The demo dataset has a stratified test part of 20 %, then "
        "K = 3 folds.",
        "datasets.py: read; samples.py: stratified_splits",
    ),
    OpenQuestion(
        "Which random numbers drew the head's first weights and the order of the batches? Seed 789 is given, but not "
        "what else had used the generator before.",
        "The head and each of the two batch orders have a generator of their own with seed 789.",
        "model.py: S2P, training.py: fit",
    ),
    OpenQuestion(
        "How is the final split trained, which has no validation? The released trainer of that mode calls an epoch "
        "function that it does not define.",
        "As its other lines say: the plateau scheduler follows the balanced accuracy on train, the last epoch is kept.",
        "training.py: fit, Course",
    ),
    OpenQuestion(
        "What does the class-weighted loss do together with BCE? The released code cannot run the two: its validation "
        "uses a name that it does not define.",
        "As with two logits: a photo weighs 1 - n_c / N of its class c, and the loss is divided by the weights' sum.",
        "training.py: fit",
    ),
    OpenQuestion(
        "How are photos with an EXIF orientation shown to the network?",
        "As released: the orientation is ignored.",
        "photos.py: open_photo",
    ),
    OpenQuestion(
        "How is a photo resized to 448 x 448?",
        "As released: squashed to the square with Pillow's bilinear filter, no crop.",
        "model.py: photo_transform",
    ),
)

PUBLISHED_SCENES_QUESTIONS = (
    OpenQuestion(
        "At which image size (224 or 448), and with which BatchNorm statistics, were the published scene probabilities "
        "made? Neither is told.",
        "They are taken as they are. Training and test see logits of the same making, so the answer can move the "
        "figures but not set the two apart. They are frozen by nature: bn_mode has no meaning.",
        "published_scenes.py",
    ),
    OpenQuestion(
        "How exact are the published scene probabilities? They are sigmoids printed with six decimals.",
        "The logit ln(p / (1 - p)) is off by at most 5e-7 / (p (1 - p)); 0.000000 and 1.000000 are taken as 5e-7 and "
        "1 - 5e-7, and counted in 02_train.",
        "published_scenes.py: to_logits, count_clipped",
    ),
)


def questions_of(run: RunFolder) -> tuple[OpenQuestion, ...]:
    """The open questions that bear on a run."""
    return OPEN_QUESTIONS if run.from_photos else (*PUBLISHED_SCENES_QUESTIONS, *OPEN_QUESTIONS)
