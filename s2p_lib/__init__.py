"""S2P reproduction kit: is a photo private or public, told from the scene it shows.

The README lists the modules in the order to read them; the notebooks are calls into them.
``from s2p_lib.model import load_s2p`` is the way to the model and its transform.
"""

__version__ = "0.1.0"
