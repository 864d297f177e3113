"""Few labels on your own pictures: a pretrained backbone against ImageNet, random features and scratch.

    python benchmarks/own_pictures.py --images folder --labels labels.csv \\
        --backbone pretext=runs/laptop/backbone_galaxies.safetensors --record runs/laptop

`labels.csv` has a label column and a column `file`, names of files in the folder; or a column `objid` instead, the
names without their endings.
"""

import argparse
from pathlib import Path

import astro_ssl_nb as ssl
from astro_ssl_nb.columns import unknown_values
from data_fetch.folder import FetchError
from data_fetch.tables import read_table

METRIC = "balanced_accuracy"  # the classes of a folder are seldom equally large


def read_pictures(images, labels, label, size, crop, drop=(), merge=()):
    """Pictures that have a label, and labels that have a picture, as a CutoutSet.

    `drop` lists labels to leave out, `merge` pairs (label, new name).
    """
    try:
        table = read_table(labels)
    except FetchError as error:
        raise SystemExit(str(error)) from error
    if label not in table.colnames:
        raise SystemExit(f"{labels} has no column {label}: its columns are {', '.join(table.colnames)}")
    table = table[~unknown_values(table[label])]
    files = picture_files(images, table, labels)
    names = [dict(merge).get(str(name), str(name)) for name in table[label]]
    table[label] = names
    keep = [row for row, name in enumerate(names) if files[row] and name not in drop]
    if not keep:
        raise SystemExit(f"no picture in {images} has a label in {labels} that is not dropped: look at the file names")
    return ssl.CutoutSet.from_image_files([files[row] for row in keep], table[keep], size=size, crop=crop)


def picture_files(images, table, labels):
    """The file of each row of a table, None where there is none."""
    if "file" in table.colnames:
        files = [Path(images) / str(name) for name in table["file"]]
        return [path if path.is_file() else None for path in files]
    if "objid" in table.colnames:
        files = {path.stem: path for path in sorted(Path(images).iterdir()) if path.is_file()}
        return [files.get(str(objid)) for objid in table["objid"]]
    raise SystemExit(f"{labels} has no column file or objid: its columns are {', '.join(table.colnames)}")


def pair(text):
    """The two sides of NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE, such as pretext={text}")
    return name, value


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", required=True, help="folder of JPEG, PNG, TIFF, WebP, GIF, BMP or FITS files")
    parser.add_argument("--labels", required=True, help="table with the columns file and label")
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
    options = parser.parse_args()
    cutouts = read_pictures(
        options.images, options.labels, options.label, options.size, options.crop, options.drop, options.merge
    )
    pool, test = cutouts.split((0.65, 0.35), seed=0)
    arms = dict(options.backbone) | {"imagenet": "imagenet", "scratch": None}
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
    verdicts = ssl.paired_differences(curve, pairs, metric=METRIC).sort_values("n_labels", kind="stable").round(4)
    print(
        f"{cutouts}\nbalanced accuracy on {len(test)} test pictures, mean and 95 % interval over {options.seeds} seeds"
    )
    for row in means.itertuples():
        interval = f"[{row.low:.3f}, {row.high:.3f}]"
        print(f"{row.n_labels:4} labels per class  {row.probe:9} {row.arm:12} {row.mean:.3f} {interval}")
    lines = [
        [
            f"own pictures, {row.n_labels} labels per class",
            f"{row.better} minus {row.worse}: {row['mean']:+.3f} [{row.low:+.3f}, {row.high:+.3f}]",
        ]
        for _, row in verdicts.iterrows()
    ]
    print("\n".join(": ".join(line) for line in lines))
    if options.record:
        ssl.record(
            options.record,
            "own_pictures",
            pictures=len(cutouts),
            data_sha256=cutouts.checksum(),
            balanced_accuracy=means.round(4).to_dict("split")["data"],
            verdicts=verdicts.to_dict("records"),
            headline=lines,
        )


if __name__ == "__main__":
    main()
