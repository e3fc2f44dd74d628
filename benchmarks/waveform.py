"""Bits per sample of the waveform codec beside JSON, CBOR, zlib of deltas and FLAC frames of the same block length.

    pip install -r benchmarks/peers-wire.txt        (an environment of its own)
    python -m benchmarks.waveform

Every block stands alone and is decoded again and compared. "with predictor": one fitted on the 10 s before, every
10 s, its bytes counted; the first 10 s have none. Writes docs/benchmarks/waveform.md and waveform.svg.
"""

import json
import time
import zlib
from collections import defaultdict
from pathlib import Path
from statistics import quantiles

import numpy as np
from numpy.typing import NDArray

from agent.transport.waveform import Predictor, decode, encode
from benchmarks.waveform_corpus import Signal, generators, recordings

DOCS = Path(__file__).parents[1] / "docs" / "benchmarks"
REFRESH_S = 10
CODECS = ("JSON", "CBOR array", "zlib of deltas", "fixed orders + Rice", "FLAC frames", "alone", "with predictor")


def blocks(signal: Signal) -> list[NDArray[np.int32]]:
    whole = signal.samples.size // signal.n * signal.n
    return list(signal.samples[:whole].reshape(-1, signal.n))


def json_bytes(signal: Signal) -> int:
    return sum(len(json.dumps(b.tolist(), separators=(",", ":"))) for b in blocks(signal))


def cbor_bytes(signal: Signal) -> int:
    import cbor2

    return sum(len(cbor2.dumps(b.tolist())) for b in blocks(signal))


def zlib_bytes(signal: Signal) -> int:
    total = 0
    for b in blocks(signal):
        deltas = np.diff(b.astype(np.int64), prepend=0)
        small = np.abs(deltas).max() < 1 << 15
        total += len(zlib.compress(deltas.astype("<i2" if small else "<i8").tobytes(), 9))
    return total


def rice_bytes(signal: Signal) -> int:
    """What SHORTEN's predictors with the best of 1 to 16 partitions and exact choice of k would take."""
    total = 0
    ks = np.arange(40)[:, None]
    for b in blocks(signal):
        residual, best = b.astype(np.int64), 32 * b.size
        for order in range(4):
            if order:
                residual = np.diff(residual)
            folded = np.where(residual >= 0, 2 * residual, -2 * residual - 1)
            cost = np.concatenate([np.zeros((40, 1), np.int64), np.cumsum((folded >> ks) + 1 + ks, axis=1)], axis=1)
            for parts in (1, 2, 4, 8, 16):
                edges = np.arange(parts + 1) * folded.size // parts
                best = min(best, int(np.diff(cost[:, edges], axis=1).min(axis=0).sum()) + 5 * parts + 16 * order)
        total += (best + 16 + 7) // 8  # mode, length
    return total


def flac_bytes(signal: Signal) -> int:
    """Frames alone, level 8, in the fewest bits per sample that FLAC's frame header can name."""
    import pyflac

    frames: list[int] = []
    low, high = int(signal.samples.min()), int(signal.samples.max())
    need = max(low ^ low >> 63, high ^ high >> 63).bit_length() + 1

    class Encoder(pyflac.StreamEncoder):  # type: ignore[misc]
        def _init(self) -> None:
            self._bits_per_sample = next(bits for bits in (8, 12, 16, 20, 24, 32) if bits >= need)
            super()._init()

    encoder = Encoder(
        sample_rate=int(signal.fs_hz),
        write_callback=lambda _buffer, size, samples, _frame: frames.append(size if samples else 0),
        compression_level=8,
        blocksize=signal.n,
        streamable_subset=False,
    )
    encoder.process(np.concatenate(blocks(signal)))
    encoder.finish()
    return sum(frames)


def our_bytes(signal: Signal, *, predict: bool, times: dict[str, list[float]] | None = None) -> tuple[int, int]:
    """Bytes of blocks and of predictors; AssertionError when a block does not come back bit for bit."""
    per = max(1, round(REFRESH_S * signal.fs_hz / signal.n))
    all_blocks = blocks(signal)
    predictor, block_bytes, predictor_bytes = None, 0, 0
    for i, x in enumerate(all_blocks):
        clock = [time.perf_counter()]
        if predict and i and i % per == 0:
            predictor = Predictor.fit(np.concatenate(all_blocks[i - per : i]))
            predictor_bytes += len(predictor.to_bytes())
        clock.append(time.perf_counter())
        data = encode(x, predictor)
        clock.append(time.perf_counter())
        assert np.array_equal(decode(data, predictor), x)
        clock.append(time.perf_counter())
        block_bytes += len(data)
        if times is not None:
            for what, seconds in zip(("fit", "encode", "decode"), np.diff(clock), strict=True):
                if what != "fit" or (predict and i and i % per == 0):
                    times[what].append(seconds * 1e3)
    return block_bytes, predictor_bytes


def measure(signal: Signal, times: dict[str, dict[str, list[float]]]) -> dict[str, float]:
    """Bits per sample by codec, and the predictors' share under "predictor bytes"."""
    samples = sum(b.size for b in blocks(signal))
    alone, _ = our_bytes(signal, predict=False, times=times[f"{signal.group}, alone"])
    predicted, records = our_bytes(signal, predict=True, times=times[f"{signal.group}, with predictor"])
    peers = (json_bytes, cbor_bytes, zlib_bytes, rice_bytes, flac_bytes)
    taken = [*(peer(signal) for peer in peers), alone, predicted + records]
    bits = {name: 8 * size / samples for name, size in zip(CODECS, taken, strict=True)}
    return {**bits, "predictor bytes": 8 * records / samples}


def mean(rows: list[dict[str, float]], column: str) -> float:
    return sum(row[column] for row in rows) / len(rows)


def under(rows: list[dict[str, float]], column: str) -> list[float]:
    return [100 * (1 - row[column] / row["FLAC frames"]) for row in rows]


def plot(groups: dict[str, list[dict[str, float]]]) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "besace"
    import matplotlib.pyplot as plt

    shown = ("zlib of deltas", "fixed orders + Rice", "FLAC frames", "alone", "with predictor")
    colours = ("#c9c9c9", "#a3b4c4", "#6f8faf", "#d99a5b", "#b3541e")
    figure, axes = plt.subplots(figsize=(9, 4.2))
    for k, (name, colour) in enumerate(zip(shown, colours, strict=True)):
        at = np.arange(len(groups)) + 0.16 * (k - 2)
        axes.bar(at, [mean(rows, name) for rows in groups.values()], 0.15, color=colour, label=name)
    axes.set_xticks(np.arange(len(groups)), [g.replace(" ", "\n", 1) for g in groups], fontsize=8)
    axes.set_ylabel("bits per sample")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(DOCS / "waveform.svg", metadata={"Date": None})


def main() -> None:
    times: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    groups: dict[str, list[dict[str, float]]] = defaultdict(list)
    made: dict[str, dict[str, float]] = {}
    for signal in generators():
        made[signal.name] = measure(signal, times)
    for signal in recordings(seconds=0):
        groups[signal.group].append(measure(signal, times))
        print(signal.group, signal.name, {k: round(v, 3) for k, v in groups[signal.group][-1].items()}, flush=True)

    lines = [
        "# Waveform codec",
        "",
        "Made by `python -m benchmarks.waveform` (environment: benchmarks/peers-wire.txt). Bits per sample; blocks",
        "stand alone, 1 s each (sound: 512 samples, heart at 2 kHz: 256); every block was decoded and compared. A",
        "predictor is fitted on the 10 s before, every 10 s, and its bytes are counted. FLAC: libFLAC level 8, frames",
        "only, of the same length. Whole ECG records, 120 s of every other recording.",
        "",
        "![bits per sample](waveform.svg)",
        "",
        "| recordings | n | " + " | ".join(CODECS) + " | under FLAC: mean, least |",
        "|---|---|" + "---|" * (len(CODECS) + 1),
    ]
    for group, rows in groups.items():
        saved = under(rows, "with predictor")
        cells = " | ".join(f"{mean(rows, c):.2f}" for c in CODECS)
        lines.append(f"| {group} | {len(rows)} | {cells} | {np.mean(saved):.1f} %, {min(saved):.1f} % |")
    everything = [row for rows in groups.values() for row in rows]
    alone = under(everything, "alone")
    by_group = [float(np.mean(under(rows, "with predictor"))) for rows in groups.values()]
    lines += [
        "",
        f"Under FLAC on average: {np.mean(under(everything, 'with predictor')):.1f} % over the recordings,",
        f"{np.mean(by_group):.1f} % over the kinds of recording; without predictors",
        f"{np.mean(alone):.1f} % over the recordings, least {min(alone):.1f} %.",
        "",
    ]
    if ecg := groups.get("ECG 360 Hz"):
        low, high = min(r["with predictor"] for r in ecg), max(r["with predictor"] for r in ecg)
        lines += [
            f"MIT-BIH first channel, the {len(ecg)} records at hand: {mean(ecg, 'with predictor'):.3f}",
            f"({low:.2f} to {high:.2f}), of which {mean(ecg, 'predictor bytes'):.3f} are predictors;",
            f"fixed orders with partitioned Rice codes {mean(ecg, 'fixed orders + Rice'):.3f}.",
            "",
        ]
    lines += ["| generator (360 Hz, 1 s) | FLAC frames | alone | with predictor |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {r['FLAC frames']:.2f} | {r['alone']:.2f} | {r['with predictor']:.2f} |"
        for name, r in made.items()
    ]
    lines += ["", "| milliseconds: fastest tenth, median | encode | decode | fit |", "|---|---|---|---|"]
    for name, taken in times.items():
        cells = (
            ", ".join(f"{q[0]:.2f}" for q in (quantiles(taken[w], n=10)[:1], quantiles(taken[w], n=2)))
            if taken.get(w)
            else ""
            for w in ("encode", "decode", "fit")
        )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    DOCS.mkdir(parents=True, exist_ok=True)
    (DOCS / "waveform.md").write_text("\n".join(lines) + "\n")
    plot(groups)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
