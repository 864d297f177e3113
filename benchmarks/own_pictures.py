"""Few labels on your own pictures: a pretrained backbone against ImageNet, random features and scratch.

    python benchmarks/own_pictures.py --images folder --labels labels.csv \\
        --backbone pretext=runs/laptop/backbone_galaxies.safetensors --record runs/laptop

`labels.csv` has a label column and a column `file`, names of files in the folder; or a column `objid` instead, the
names without their endings.
"""

import argparse
from collections import Counter
from pathlib import Path
from unicodedata import normalize

import numpy as np

import astro_ssl_nb as ssl
from astro_ssl_nb.columns import unknown_values
from astro_ssl_nb.image_files import check_alike
from data_fetch.folder import FetchError
from data_fetch.tables import read_table
from data_fetch.user_images import read_all, some

# What the names of image files mostly end with.
ENDINGS = {".fits", ".fit", ".fts", ".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".gif", ".bmp"}
METRIC = "balanced_accuracy"  # the classes of a folder are seldom equally large
OTHERS = {"imagenet": "imagenet", "scratch": None}


def read_pictures(images, labels, label, size, crop, drop=(), merge=()):
    """Pictures that have a label, and labels that have a picture, as a CutoutSet; says what it leaves out.

    `drop` lists labels to leave out, `merge` pairs (label, new name).
    """
    table = read_table(labels)
    if label not in table.colnames:
        raise SystemExit(f"{labels} has no column {label}: its columns are {', '.join(table.colnames)}")
    unlabelled = unknown_values(table[label])
    merged = dict(merge)
    table[label] = [merged.get(str(name), str(name)) for name in table[label]]
    dropped = ~unlabelled & np.isin(table[label], list(drop))
    table = table[~unlabelled & ~dropped]
    files = picture_files(images, table, labels)
    rows = [row for row, path in enumerate(files) if path]
    names = table["file" if "file" in table.colnames else "objid"]
    lost = [str(name) for name, path in zip(names, files, strict=True) if not path]
    if not rows:
        there = [path.name for path in sorted(Path(images).iterdir())]
        raise SystemExit(
            f"no picture in {images} has a label in {labels} that is not dropped: the table names {some(lost)}, the "
            f"folder holds {some(there)}"
        )
    twice = [path for path, count in Counter(path.resolve() for path in files if path).items() if count > 1]
    if twice:
        raise SystemExit(f"{labels} names {twice[0]} more than once: give one row a picture")
    read, reasons = read_all([files[row] for row in rows], size, crop)
    print(
        f"{len(unlabelled)} rows in {labels}: {unlabelled.sum()} without a label, {dropped.sum()} dropped, {len(lost)} "
        f"without a picture ({some(lost)}), {len(reasons)} whose picture is left out ({some(reasons.values())})"
    )
    if not read:
        raise SystemExit(f"none of the {len(rows)} pictures can be read")
    check_alike([files[rows[k]] for k in read], read.values())
    return ssl.CutoutSet.of_image_files(np.stack(list(read.values())), table[[rows[k] for k in read]], None)


def picture_files(images, table, labels):
    """The file of each row of a table, None where there is none."""
    column = next((name for name in ("file", "objid") if name in table.colnames), None)
    if column is None:
        raise SystemExit(f"{labels} has no column file or objid: its columns are {', '.join(table.colnames)}")
    if not Path(images).is_dir():
        raise SystemExit(f"there is no folder {images}")
    paths, stems = {}, {}
    for path in sorted(path for path in Path(images).rglob("*") if path.is_file()):
        paths[normalize("NFC", path.relative_to(images).as_posix())] = path
        if path.suffix.lower() in ENDINGS:
            stems.setdefault(normalize("NFC", path.stem), []).append(path)
    return [_picture_file(normalize("NFC", str(name)), paths, stems) for name in table[column]]


def _picture_file(name, paths, stems):
    if name in paths:
        return paths[name]
    last = Path(name)
    found = stems.get(last.stem if last.suffix.lower() in ENDINGS else last.name, [])
    if len(found) > 1:
        raise SystemExit(f"{name} may be {found[0]} or {found[1]}: name files with their folder and ending")
    return found[0] if found else None


def pair(text):
    """The two sides of NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE, such as pretext={text}")
    return name, value


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", required=True, help="folder of JPEG, PNG, TIFF, WebP, GIF, BMP or FITS files")
    parser.add_argument("--labels", required=True, help="table with a label column and a column file or objid")
    parser.add_argument("--label", default="label", help="the label column (default: label)")
    parser.add_argument("--backbone", nargs="+", required=True, type=pair, metavar="NAME=FILE", help="backbones")
    parser.add_argument("--size", type=int, default=64, help="pixels a side (default: 64)")
    parser.add_argument("--crop", type=float, default=0.5, help="central fraction of each picture (default: 0.5)")
    parser.add_argument("--drop", nargs="*", default=[], help="labels to leave out")
    parser.add_argument("--merge", nargs="*", default=[], type=pair, metavar="LABEL=NAME", help="labels to rename")
    parser.add_argument("--sizes", nargs="*", type=int, default=[10], help="labels per class (default: 10)")
    parser.add_argument("--probes", nargs="*", default=["linear"], help="linear, knn, finetune (default: linear)")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--arch", default="resnet10t", help="architecture of the arm that starts from nothing")
    parser.add_argument("--record", help="folder of a run: its summary.json, and the book made from it, get the scores")
    parser.add_argument("--about", default="", help="survey of the pictures and source of their labels, for the book")
    options = parser.parse_args()
    taken = Counter([*OTHERS, *(name for name, _ in options.backbone)])
    if max(taken.values()) > 1:
        parser.error(f"--backbone: the name {taken.most_common(1)[0][0]} is taken, give another")
    try:
        compare(options)
    except (FetchError, ValueError, OSError) as error:
        raise SystemExit(str(error)) from error


def compare(options):
    """Print, and record, what the command line asks for."""
    cutouts = read_pictures(
        options.images, options.labels, options.label, options.size, options.crop, options.drop, options.merge
    )
    classes = Counter(cutouts.labels(options.label).tolist())
    print(f"{cutouts}: {', '.join(f'{count} {name}' for name, count in classes.most_common())}")
    pool, test = cutouts.split((0.65, 0.35), seed=0)
    arms = dict(options.backbone) | OTHERS
    curve = ssl.label_curve(
        pool,
        test,
        options.label,
        arms=arms,
        probes=options.probes,
        sizes=options.sizes,
        seeds=options.seeds,
        arch=options.arch,
    )
    means = ssl.mean_intervals(curve, METRIC)
    ours, *others = arms
    pairs = [((ours, probe), (arm, probe)) for probe in options.probes for arm in others]
    verdicts = ssl.paired_differences(curve, pairs, metric=METRIC).sort_values("n_labels", kind="stable").round(6)
    print(f"balanced accuracy on {len(test)} test pictures, mean and 95 % interval over {options.seeds} seeds")
    for row in means.itertuples():
        interval = f"[{row.low:.3f}, {row.high:.3f}]"
        print(f"{row.n_labels:4} labels per class  {row.probe:9} {row.arm:12} {row.mean:.3f} {interval}")
    lines = [
        [
            f"own pictures, {row.n_labels} labels per class, balanced accuracy",
            f"{row.better} minus {row.worse}: {row['mean']:+z.3f} [{row.low:+z.3f}, {row.high:+z.3f}]",
        ]
        for _, row in verdicts.iterrows()
    ]
    print("\n".join(": ".join(line) for line in lines))
    if options.record:
        ssl.record(
            options.record,
            "own_pictures",
            pictures=len(cutouts),
            test=len(test),
            classes=dict(classes),
            pool_classes=Counter(pool.labels(options.label).tolist()),
            test_classes=Counter(test.labels(options.label).tolist()),
            seeds=options.seeds,
            about=options.about,
            data_sha256=cutouts.checksum(),
            balanced_accuracy=means.round(6).to_dict("split")["data"],
            verdicts=verdicts.to_dict("records"),
            headline=lines,
        )


if __name__ == "__main__":
    main()
