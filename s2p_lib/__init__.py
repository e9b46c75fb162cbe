"""S2P reproduction kit: is a photo private or public, told from the scene it shows.

Read the modules in this order; each knows only those above it: samples, datasets, photos, pictures, audit, metrics,
calibration, prediction_files, config, progress, demo (with demo_scenes), model, scene_logits, published_scenes,
batchnorm, training, many_heads, carbon, baselines, failures, slices, run_folder, predict, judges, claims,
open_questions, plots, evaluation_plots, report, documents, protocols, run, estimate; beside them downloads, archives,
fetch, fetch_photos, and for the kit itself demo_backbone, made_scenes, bench, readme. The notebooks are calls
into them. ``from s2p_lib.model import load_s2p`` is the way to the model and its transform.
"""

__version__ = "0.1.0"
