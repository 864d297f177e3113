"""``python -m data_fetch NAME``: fetch a data set from a shell, check it, describe it, hand it on."""

import argparse
import sys


def main(arguments=None):
    """Run the command; returns its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    name = arguments[0] if arguments else ""
    run = {"verify": _verify, "card": _card, "export": _export, "images": _images}.get(name)
    try:
        return _fetch(arguments) if run is None else run(arguments[1:])
    except KeyboardInterrupt:
        print("stopped" if run else "stopped; the same command goes on from here", file=sys.stderr)
        return 130
    except (OSError, ValueError, ImportError) as error:  # FetchError is a ValueError
        return _fail(error)


def _fail(*errors):
    for error in errors:
        print(f"error: {error}", file=sys.stderr)
    return 2


def _parser(name, description, **options):
    return argparse.ArgumentParser(prog=f"python -m data_fetch {name}".strip(), description=description, **options)


def _verify(arguments):
    parser = _parser(
        "verify",
        "Check a fetched data set: checksums, numbers of rows, ids and pixels. Says what is wrong; the exit code is 0 "
        "if nothing is, else 2.",
    )
    parser.add_argument("folder", help="folder of the data set, such as data/sg")
    folder = parser.parse_args(arguments).folder
    import data_fetch

    problems = data_fetch.verify(folder)
    if problems:
        return _fail(*problems)
    print(f"{folder} is as it was fetched")
    return 0


def _card(arguments):
    parser = _parser("card", "Describe a data set in Markdown and pictures; every fetch does it, too.")
    parser.add_argument("folder", help="folder of the data set, such as data/sg")
    folder = parser.parse_args(arguments).folder
    import data_fetch

    print(data_fetch.write_dataset_card(folder))
    return 0


def _export(arguments):
    parser = _parser("export", "Write a data set as other programs read it.")
    parser.add_argument("folder", help="folder of the data set, such as data/sg")
    parser.add_argument("out", help="file (fits, hdf5) or folder (datasets) to write")
    parser.add_argument("--format", choices=("fits", "hdf5", "datasets"), default="fits", help="(%(default)s)")
    options = parser.parse_args(arguments)
    import data_fetch

    print(data_fetch.export(options.folder, options.out, options.format))
    return 0


def _images(arguments):
    parser = _parser(
        "images",
        "Make a data set of your own pictures (JPEG, PNG, TIFF, WebP, GIF, BMP or FITS) and a table of labels.",
    )
    parser.add_argument("folder", help="folder of the pictures")
    parser.add_argument(
        "labels",
        help="table (CSV, ECSV, FITS, VOTable, Parquet or text) with a column `file`, and any others, such as `class`",
    )
    parser.add_argument("--out", default="data/images", help="folder to fill (%(default)s)")
    parser.add_argument("--size", type=int, default=64, help="pixels a side of a cutout (%(default)s)")
    crop = "side of the central square to keep, as a share of the shorter side (%(default)s)"
    parser.add_argument("--crop", type=float, default=1.0, help=crop)
    parser.add_argument("--pixel-scale", type=float, help="arcsec a pixel of the result (not known)")
    options = parser.parse_args(arguments)
    import data_fetch

    print(data_fetch.own_images(**vars(options)))
    return 0


def _fetch(arguments):
    parser = _parser(
        "",
        "Fetch cutouts and their catalogue from an SDSS archive into a folder. The same command goes on with what a "
        "killed one left, and fetches nothing twice.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="""data sets:
  pretext         stars and galaxies without labels, with what was measured of them
  sg, sgq         stars and galaxies; the same and quasars: labels from spectra
  mg              merging galaxies and others, by the votes of Galaxy Zoo
  ef2, ef4, ef15  galaxies of EFIGI in 2, 4 and 15 classes
  efigi           all of them with their Hubble types, to make those three of
  galaxies        galaxies without labels, large enough to show a shape
  positions FILE  your own list (CSV, ECSV, FITS, VOTable, Parquet, text): ra and dec in degrees, and any others

other commands, each with --help:
  images FOLDER LABELS  a data set of your own pictures; no archive is asked
  verify FOLDER         check what is there
  card FOLDER           describe it
  export FOLDER OUT     write it as FITS, HDF5 or for Hugging Face's library datasets

example: python -m data_fetch sgq --archive practice --n 600 --out data/sgq --plan""",
    )
    parser.add_argument("name", help="one of the data sets below")
    parser.add_argument("source", nargs="?", help="the file of a list, for `positions`")
    parser.add_argument(
        "--archive",
        default="practice",
        help="practice, sdss or the URL of a mirror, such as https://user:password@host (%(default)s)",
    )
    parser.add_argument("--n", type=int, help="objects in all (as many as in the paper)")
    parser.add_argument("--out", help="folder to fill (data/NAME)")
    parser.add_argument("--bands", default="ugriz", help="(%(default)s)")
    parser.add_argument("--size", type=int, default=32, help="pixels a side of a cutout (%(default)s)")
    parser.add_argument("--mag-limits", type=float, nargs=2, metavar=("BRIGHT", "FAINT"), help="model magnitude in r")
    parser.add_argument("--release", type=int, default=17, help="SDSS data release (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another seed draws other objects (%(default)s)")
    parser.add_argument(
        "--exclude", nargs="+", default=(), metavar="FOLDER", help="data sets whose objects must not be in this one"
    )
    parser.add_argument("--frames", help="where frames are kept (the folder `frames` beside --out)")
    parser.add_argument("--plan", action="store_true", help="say what it would cost, and fetch no frame")
    options = vars(parser.parse_intermixed_args(arguments))  # the file of a list may come after the options

    # Only now, because importing astropy takes longer than printing the help.
    import data_fetch
    from data_fetch.plans import Request

    name, archive, release = (options.pop(key) for key in ("name", "archive", "release"))
    options["out"] = options["out"] or f"data/{name}"
    # A mistake is said at once, and not only when the practice sky has been made.
    Request(name, **{key: options[key] for key in ("n", "bands", "size", "mag_limits", "seed", "exclude", "source")})
    try:
        with data_fetch.open_archive(archive, release=release) as archive:
            if options.pop("plan"):
                print(data_fetch.plan(name, archive=archive, **options))
            else:
                print(data_fetch.fetch(name, archive=archive, **options))
    except data_fetch.ArchiveError as error:
        return _fail(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
