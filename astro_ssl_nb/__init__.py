"""Learn a representation of astronomical images from measured properties, then classify with few labels.

The public names below are loaded when they are first used, so that ``import astro_ssl_nb`` costs next to nothing
and a program that only reads cutouts never imports torch.
"""

import warnings as _warnings

import lazy_loader as _lazy

# Libraries say these while they are imported or at work; nobody who reads a notebook can do anything about them.
_warnings.filterwarnings("ignore", message="`torch.jit.script` is deprecated", category=FutureWarning)
_warnings.filterwarnings("ignore", message="IProgress not found")
_warnings.filterwarnings("ignore", message="A worker stopped while some jobs were given to the executor")

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submodules={"figures"},
    submod_attrs={
        "columns": ["as_floats"],
        "properties": [
            "COLOURS",
            "EXTENT",
            "MAGNITUDES",
            "PHOTOMETRY",
            "PHOTOZ",
            "REDSHIFT",
            "SCALE_FREE",
            "SIZES",
            "STRUCTURE",
            "Property",
            "property_values",
        ],
        "stretch": ["Stretch", "lupton_rgb"],
        "invariance": ["Invariance"],
        "finetuning": ["few_shot_learner"],
        "predictors": ["Predictor"],
        "losses": ["masked_l1", "masked_laplace", "vicreg"],
        "backbones": ["create_backbone", "load_backbone", "read_card", "save_backbone"],
        "checkpoints": ["Checkpoint"],
        "cutouts": ["CutoutSet"],
        "dataloaders": ["CutoutDataLoaders"],
        "distributed": ["across_processes"],
        "learners": ["class_learner", "predict_properties", "property_learner"],
        "finite": ["nonfinite_rows"],
        "nonfinite": ["StopAtNaN"],
        "representations": ["embed"],
        "unsupervised": [
            "anomaly_recall",
            "cluster_scores",
            "precision_at_k",
            "representation_report",
            "score_table",
            "silhouette",
            "tsne_map",
        ],
        "attribution": ["saliency"],
        "interactive": ["interactive_map"],
        "sliders": ["FigureSlider"],
        "augmentations": ["at_any_distance"],
        "structure": ["measure_structure"],
        "apertures": ["aperture_magnitudes"],
        "redshifts": ["paired_sigma_mad", "photoz_scores", "pit_flatness", "pit_values"],
        "scores": ["classification_scores"],
        "label_curves": ["few_shot_probabilities", "label_curve"],
        "label_draws": ["labelled_subset"],
        "intervals": [
            "label_efficiency",
            "mean_interval",
            "mean_intervals",
            "paired_difference",
            "paired_differences",
            "verdict_table",
        ],
        "summary": ["record"],
    },
)
