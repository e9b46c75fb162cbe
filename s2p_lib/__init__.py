"""S2P reproduction kit: is a photo private or public, told from the scene it shows.

Read the modules in this order; each knows only those above it:
samples, photos, demo_scenes, demo, model, scene_logits, training, metrics, failures, carbon, claims,
plots, report, run. The notebooks are calls into them.
"""

__version__ = "0.1.0"
