"""Is the practice sky like the sky? Both measured with the same software, and a probe that tells them apart.

    python benchmarks/practice_vs_real.py --real ../shared/sdss

needs frames of SDSS (`frame-{band}-{run}-{camcol}-{field}.fits.bz2`, all five bands) in a folder. It renders six
practice fields, detects and measures the objects of both skies with SEP, cuts them out, and writes the numbers, the
figures and the table of the book's page to `jupyter-book/_static/practice_vs_real`. Two minutes on two cores.
"""

import argparse
import json
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import sep
from astropy.stats import sigma_clipped_stats
from astropy.table import Table, vstack
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import astro_ssl_nb as ssl
from astro_ssl_nb.pictures import rgb
from astro_ssl_nb.style import COLOURS
from data_fetch.frames import Frame
from data_fetch.practice import SimulatedSky
from data_fetch.practice.instrument import PIXEL_SCALE
from data_fetch.practice.sky import FIRST_RUN

OUT = Path(__file__).parents[1] / "jupyter-book" / "_static" / "practice_vs_real"
BANDS, SIZE = "ugriz", 32
BINS = np.arange(16.5, 21.6, 0.5)  # of r; fainter objects are mostly noise on a cutout
COLOUR = {"real": "black", "practice": COLOURS[0]}
FRAME = re.compile(r"frame-r-(\d{6})-(\d)-(\d{4})\.fits\.bz2")


def real_fields(folder):
    """Frames of each field in a folder: an iterator over {band: Frame}."""
    for path in sorted(Path(folder).glob("frame-r-*.fits.bz2")):
        run, camcol, field = map(int, FRAME.fullmatch(path.name).groups())
        packed = {band: path.with_name(path.name.replace("frame-r", f"frame-{band}")).read_bytes() for band in BANDS}
        yield {b: Frame.decode(p, run=run, camcol=camcol, field=field, band=b) for b, p in packed.items()}


def practice_fields(number):
    """As `real_fields`, of the practice sky: the camera columns in turn, another run and night every second field."""
    sky = SimulatedSky(0)
    for k in range(number):
        place = {"run": FIRST_RUN + k // 2, "camcol": 1 + k % 6, "field": 11}
        yield {b: Frame.decode(sky.frame_bytes(*place.values(), b), band=b, **place) for b in BANDS}


def measure_field(frames):
    """Detect in r, measure in five bands: a table with an image a row, and the field's own numbers."""
    images = {b: np.ascontiguousarray(f.data, dtype=np.float32) for b, f in frames.items()}
    images = {b: image - sep.Background(image, bw=128, bh=128).back() for b, image in images.items()}
    noise = {b: sigma_clipped_stats(image, sigma=2.5, maxiters=8)[2] for b, image in images.items()}
    found = Table(sep.extract(images["r"], 2.0, err=noise["r"], minarea=5))
    inside = (np.abs(found["x"] - 1023.5) < 980) & (np.abs(found["y"] - 744) < 700)
    found = found[inside & (found["flag"] & sep.OBJ_TRUNC == 0)]
    x, y = np.array(found["x"]), np.array(found["y"])
    kron, _ = sep.kron_radius(images["r"], x, y, found["a"], found["b"], found["theta"], 6.0)
    aperture = np.clip(2.5 * np.nan_to_num(kron) * np.sqrt(found["a"] * found["b"]), 4.0, 40.0)
    flux, _, _ = sep.sum_circle(images["r"], x, y, aperture)
    half_light, _ = sep.flux_radius(images["r"], x, y, aperture, 0.5)
    table = Table({"objid": np.arange(len(x)), "r": magnitude(flux), "half_light": half_light * PIXEL_SCALE})
    table["ra"], table["dec"] = frames["r"].wcs.all_pix2world(x, y, 0)
    distance = np.maximum(np.abs(x - x[:, None]), np.abs(y - y[:, None]))
    table["neighbours"] = np.sum(distance < SIZE / 2, axis=1) - 1
    stars = (table["r"] > 15.5) & (table["r"] < 18.5) & (found["flag"] == 0)
    psf, blank = {}, {}
    for b, image in images.items():
        bx, by = frames[b].wcs.all_world2pix(table["ra"], table["dec"], 0)
        table[b + "_2arcsec"] = magnitude(sep.sum_circle(image, bx, by, 5.0)[0])
        radius, _ = sep.flux_radius(image, bx[stars], by[stars], np.full(stars.sum(), 12.0), 0.5)
        psf[b] = float(np.nanpercentile(radius, 25) * PIXEL_SCALE)  # most bright objects are stars, the smallest all
        empty = np.abs(image) < 2.5 * noise[b]
        pairs = empty[:, 1:] & empty[:, :-1]
        blank[b] = float(np.corrcoef(image[:, 1:][pairs], image[:, :-1][pairs])[0, 1])
    cut = [frames[b].cutouts(table["ra"], table["dec"], SIZE) for b in BANDS]
    table["image"] = np.stack([images for images, _ in cut], axis=1)
    whole = np.isfinite(table["image"]).all(axis=(1, 2, 3)) & np.isfinite(table["r"])
    return table[whole], {"noise": {b: float(n) for b, n in noise.items()}, "psf": psf, "correlation": blank}


def magnitude(flux):
    """AB magnitude of nanomaggies; NaN where there is no light."""
    return 22.5 - 2.5 * np.log10(np.where(flux > 0, flux, np.nan))


def matched(real, practice, rng):
    """Rows of both skies, as many of each in every bin of r."""
    rows = []
    for low, high in zip(BINS[:-1], BINS[1:], strict=True):
        here = [np.flatnonzero((sky["r"] >= low) & (sky["r"] < high)) for sky in (real, practice)]
        number = min(len(part) for part in here)
        rows.append([rng.choice(part, number, replace=False) for part in here])
    return (np.concatenate(part) for part in zip(*rows, strict=True))


def probe(real, practice):
    """AUC of a linear probe on ImageNet features, each real field and two practice fields held out in turn.

    Returns
    -------
    dict with `auc`, its 95 per cent interval over cutouts (bootstrap), `folds`, and `n` cutouts of each sky
    """
    rng = np.random.default_rng(0)
    a, b = matched(real, practice, rng)
    both = vstack([real[a], practice[b]])
    label = np.repeat([0, 1], [len(a), len(b)])
    fold = np.where(label == 0, both["field"], both["field"] % (real["field"].max() + 1))
    cutouts = ssl.CutoutSet.from_arrays(np.array(both["image"]), Table({"objid": np.arange(len(both))}), bands=BANDS)
    features = ssl.embed("imagenet", cutouts)
    score = np.zeros(len(both))
    for k in np.unique(fold):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, max_iter=500))
        model.fit(features[fold != k], label[fold != k])
        score[fold == k] = model.decision_function(features[fold == k])

    def mean_auc(draw):
        return np.mean([roc_auc_score(label[draw][fold[draw] == k], score[draw][fold[draw] == k]) for k in set(fold)])

    draws = [mean_auc(rng.integers(len(both), size=len(both))) for _ in range(300)]
    folds = [float(roc_auc_score(label[fold == k], score[fold == k])) for k in np.unique(fold)]
    ends = np.percentile(draws, [2.5, 97.5])
    most = np.argsort(score[: len(a)])[:16], len(a) + np.argsort(-score[len(a) :])[:16]
    answer = {"auc": float(np.mean(folds)), "low": float(ends[0]), "high": float(ends[1]), "folds": folds, "n": len(a)}
    return answer, [np.array(both["image"][rows]) for rows in most]


def summarise(sky, fields):
    """The numbers of one sky, a value a field."""
    counts = [np.histogram(sky["r"][sky["field"] == k], BINS)[0] for k in range(len(fields))]
    faint = (sky["r"] > 20) & (sky["r"] < 21.5)
    extended = (sky["r"] > 19.5) & (sky["r"] < 21.5) & (sky["half_light"] > 1.6)
    numbers = {f"{name}_{b}": [f[name][b] for f in fields] for name in ("noise", "psf", "correlation") for b in BANDS}
    numbers |= {"counts": np.sum(counts, axis=1).tolist()}
    numbers["half_light_20_to_21.5"] = [float(np.median(sky["half_light"][faint & (sky["field"] == k)]))
                                        for k in range(len(fields))]  # fmt: skip
    numbers["large_and_faint"] = [int(np.sum(extended & (sky["field"] == k))) for k in range(len(fields))]
    numbers["neighbours"] = [float(np.mean(sky["neighbours"][sky["field"] == k])) for k in range(len(fields))]
    return numbers


def figures(skies, numbers, pictures):
    """Write the two PNG files of the page."""
    OUT.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(2, 3, figsize=(10, 6.2), layout="constrained")
    for name, sky in skies.items():
        style = {"color": COLOUR[name], "label": name}
        for k in range(sky["field"].max() + 1):
            counts, _ = np.histogram(sky["r"][sky["field"] == k], BINS)
            once = style if k == 0 else style | {"label": None}
            axes[0, 0].semilogy(BINS[:-1] + 0.25, counts + 0.5, alpha=0.6, **once)
        bright = sky["r"] < 20.5
        g, r, i = (sky[b + "_2arcsec"][bright] for b in "gri")
        axes[0, 1].plot(g - r, r - i, ".", ms=1.5, **style)
        axes[0, 2].plot(sky["r"], sky["half_light"], ".", ms=1, alpha=0.5, **style)
        middle = [np.median(sky["half_light"][np.abs(sky["r"] - m - 0.25) < 0.25]) for m in BINS[:-1]]
        axes[0, 2].plot(BINS[:-1] + 0.25, middle, lw=2, **style)
        for axis, quantity in zip(axes[1], ("psf", "noise"), strict=False):
            for k in range(sky["field"].max() + 1):
                axis.plot(range(5), [numbers[name][f"{quantity}_{b}"][k] for b in BANDS], "o-", alpha=0.5, **style)
        axes[1, 2].hist(sky["neighbours"], np.arange(9) - 0.5, density=True, histtype="step", lw=2, **style)
    axes[0, 0].set(xlabel="r (mag)", ylabel="objects per field and half magnitude")
    axes[0, 0].legend()
    axes[0, 1].set(xlabel="g - r (mag)", ylabel="r - i (mag)", xlim=(-0.7, 2.2), ylim=(-0.6, 2.2))
    axes[0, 2].set(xlabel="r (mag)", ylabel="half-light radius (arcsec)", xlim=(16, 22), ylim=(0.4, 3))
    for axis, text in zip(
        axes[1], ("half-light radius of stars (arcsec)", "noise (nanomaggies a pixel)"), strict=False
    ):
        axis.set_xticks(range(5), BANDS)
        axis.set(xlabel="band", ylabel=text)
    axes[1, 1].set_yscale("log")
    axes[1, 2].set(xlabel="other objects on a cutout", ylabel="share of cutouts")
    figure.savefig(OUT / "measured.png", dpi=65, facecolor="white")
    figure, axes = plt.subplots(1, 2, figsize=(10, 5.4), layout="constrained")
    for axis, name, images in zip(axes, skies, pictures, strict=True):
        shown = rgb(images, BANDS)
        axis.imshow(
            np.concatenate([np.concatenate(shown[4 * k : 4 * k + 4], axis=1) for k in range(4)]), origin="lower"
        )
        axis.set_title(f"{name}: taken for {name} with most certainty")
        axis.axis("off")
    figure.savefig(OUT / "most_certain.png", dpi=40, facecolor="white")


def row_title(name):
    """What the table calls a number of `summarise`, with its unit."""
    start, _, band = name.rpartition("_")
    of_bands = {
        "noise": "noise of a pixel, {} (nanomaggy)",
        "psf": "half-light radius of bright stars, {} (arcsec)",
        "correlation": "correlation of neighbouring empty pixels, {}",
    }
    others = {
        "counts": f"objects in a field, r from {BINS[0]:g} to {BINS[-1]:g} mag",
        "half_light_20_to_21.5": "median half-light radius, r from 20 to 21.5 mag (arcsec)",
        "large_and_faint": "large and faint objects in a field",
        "neighbours": f"neighbours on a cutout of {SIZE} pixels, mean",
    }
    return of_bands[start].format(band) if start in of_bands else others[name]


def write_table(results):
    """The table that the page includes."""
    lines = ["| Quantity | Real fields, lowest to highest | Practice fields, lowest to highest |", "|---|---|---|"]
    for name, real in results["real"].items():
        low_high = [f"{min(v):.3g} to {max(v):.3g}" for v in (real, results["practice"][name])]
        lines.append(f"| {row_title(name)} | {low_high[0]} | {low_high[1]} |")
    lines += ["", "| Practice sky | AUC of the probe | 95 % interval | Cutouts of each sky |", "|---|---|---|---|"]
    for step in results["steps"]:
        lines.append("| {change} | {auc:.3f} | {low:.3f} to {high:.3f} | {n} |".format(**step))
    (OUT / "numbers.txt").write_text("\n".join(lines) + "\n")


def main():
    """Command line of this file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--real", default="../shared/sdss", help="folder of SDSS frames (default: ../shared/sdss)")
    parser.add_argument("--change", default="as it is now", help="what was changed: a line of the table of AUCs")
    arguments = parser.parse_args()
    skies, fields = {}, {}
    for name, source in (("real", real_fields(arguments.real)), ("practice", practice_fields(6))):
        parts, fields[name] = zip(*map(measure_field, source), strict=True)
        for k, part in enumerate(parts):
            part["field"] = k
        skies[name] = vstack(list(parts))
    numbers = {name: summarise(skies[name], fields[name]) for name in skies}
    answer, pictures = probe(*skies.values())
    path = OUT / "numbers.json"
    steps = json.loads(path.read_text())["steps"] if path.exists() else []
    steps = [s for s in steps if s["change"] != arguments.change] + [{"change": arguments.change, **answer}]
    OUT.mkdir(parents=True, exist_ok=True)
    results = numbers | {"steps": steps}
    path.write_text(json.dumps(results, indent=1) + "\n")
    write_table(results)
    figures(skies, numbers, pictures)
    print((OUT / "numbers.txt").read_text())


if __name__ == "__main__":
    main()
