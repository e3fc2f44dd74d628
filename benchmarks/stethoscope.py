"""Stethoscope denoisers, ours and the peers, in one run: `python -m benchmarks.stethoscope`.

Makes a virtual environment of its own for the peers (build/peers-stethoscope), scores every method on the same
mixtures with tools/score_denoise.py beside the data folder, and writes docs/benchmarks/stethoscope.md with
spectrograms. The peers' lines are kept in build/ and not scored again: only ours changes.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np

ROOT = Path(__file__).parent.parent
SHARED = Path(os.environ.get("BESACE_DATA", ROOT.parent / "shared" / "data")).parent
PEERS = ROOT / "build" / "peers-stethoscope"
KEPT = ROOT / "build" / "stethoscope-peers.json"  # delete it to score the peers again
REQUIREMENTS = ROOT / "benchmarks" / "peers-stethoscope.txt"
PAGE = ROOT / "docs" / "benchmarks" / "stethoscope.md"
Method = Callable[..., np.ndarray]
HEART_BAND_HZ, LUNG_BAND_HZ = (25.0, 400.0), (80.0, 1500.0)
RATE_SNRS = (-5, 0, 5)
HEAD = """\
| method | heart | worst | LSD | S1/S2 | lung | worst | crackles lost | pairs | latency | real-time factor |
|---|---|---|---|---|---|---|---|---|---|---|"""


# --- ours -----------------------------------------------------------------------------------------------------


class Ours:
    """The denoiser in the form the scorer streams to."""

    def __init__(self, fs_hz: float, mode: str, *, trained: bool = True) -> None:
        from agent.dsp.auscultation import AuscultationDenoiser
        from agent.dsp.auscultation_mask import ClassicalMask

        self.process = AuscultationDenoiser(fs_hz, mode, None if trained else ClassicalMask(mode)).push


def ours(fs: float, mode: str = "heart") -> Ours:
    return Ours(fs, mode)


def fallback(fs: float, mode: str = "heart") -> Ours:
    return Ours(fs, mode, trained=False)


# --- peers ----------------------------------------------------------------------------------------------------


def band_pass(y: np.ndarray, fs: float, mode: str = "heart") -> np.ndarray:
    from scipy.signal import butter, sosfiltfilt

    band = HEART_BAND_HZ if mode == "heart" else LUNG_BAND_HZ
    return sosfiltfilt(butter(4, band, "bandpass", fs=fs, output="sos"), y)


def bayes_shrink(y: np.ndarray, _fs: float) -> np.ndarray:
    """Chang, Yu and Vetterli 2000, soft thresholds per scale, sym8; noise from the finest scale."""
    import pywt

    approximation, *details = pywt.wavedec(y, "sym8", level=7)
    noise = np.median(np.abs(details[-1])) / 0.6745
    kept = []
    for d in details:
        signal = np.sqrt(max(np.mean(d**2) - noise**2, 1e-20))
        kept.append(pywt.threshold(d, noise**2 / signal, "soft"))
    return pywt.waverec([approximation, *kept], "sym8")[: len(y)]


def to_int16(y: np.ndarray) -> np.ndarray:
    return np.clip(np.round(y * 32767), -32768, 32767).astype(np.int16)


def resampled(y: np.ndarray, fs: float, target: int, work: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    from scipy.signal import resample_poly

    factor = int(target / fs)
    return resample_poly(work(resample_poly(y, factor, 1)), 1, factor)


def speexdsp(y: np.ndarray, fs: float) -> np.ndarray:
    from speexdsp_ns import NoiseSuppression

    frame = int(fs * 0.016)
    state = NoiseSuppression.create(frame, int(fs))
    x = to_int16(np.pad(y, (0, -len(y) % frame)))
    out = [np.frombuffer(state.process(x[i : i + frame].tobytes()), np.int16) for i in range(0, len(x), frame)]
    return np.concatenate(out)[: len(y)] / 32767.0


def log_mmse(y: np.ndarray, fs: float) -> np.ndarray:
    with np.errstate():  # its import makes numpy raise for everybody
        from logmmse import logmmse

        return np.asarray(logmmse(to_int16(y), int(fs), output_file=None), float) / 32767.0


def noise_reduce(y: np.ndarray, fs: float) -> np.ndarray:
    import noisereduce

    return noisereduce.reduce_noise(y=y, sr=int(fs), n_fft=256)


def webrtc_ns(y: np.ndarray, fs: float) -> np.ndarray:
    from webrtc_noise_gain import AudioProcessor

    state = AudioProcessor(0, 2)

    def work(x: np.ndarray) -> np.ndarray:
        x = to_int16(np.pad(x, (0, -len(x) % 160)))
        out = [state.Process10ms(x[i : i + 160].tobytes()).audio for i in range(0, len(x), 160)]
        return np.frombuffer(b"".join(out), np.int16) / 32767.0

    return resampled(y, fs, 16000, work)[: len(y)]


def rnnoise(y: np.ndarray, fs: float) -> np.ndarray:
    from pyrnnoise.rnnoise import FRAME_SIZE, create, destroy, process_frame

    state = create()

    def work(x: np.ndarray) -> np.ndarray:
        x = to_int16(np.pad(x, (0, -len(x) % FRAME_SIZE)))
        out = [np.asarray(process_frame(state, x[i : i + FRAME_SIZE])[0]).ravel() for i in range(0, len(x), FRAME_SIZE)]
        return np.concatenate(out) / 32767.0

    try:
        return resampled(y, fs, 48000, work)[: len(y)]
    finally:
        destroy(state)


PEER_METHODS: dict[str, Method] = {
    "zero-phase band-pass": band_pass,
    "wavelet BayesShrink": bayes_shrink,
    "speexdsp": speexdsp,
    "log-MMSE": log_mmse,
    "noisereduce": noise_reduce,
    "WebRTC NS": webrtc_ns,
    "RNNoise": rnnoise,
}


# --- figures --------------------------------------------------------------------------------------------------


def load_scorer() -> ModuleType:
    path = SHARED / "tools" / "score_denoise.py"
    if not path.exists():
        sys.exit(f"no scorer at {path}: set BESACE_DATA to the data folder beside the tools folder")
    spec = importlib.util.spec_from_file_location("score_denoise", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def row(scorer: ModuleType, name: str, method: Method, snrs: tuple[int, ...]) -> tuple[str, dict]:
    """One line of the table and the summary behind it."""
    began = time.monotonic()
    result = scorer.score(method, snrs=snrs)
    summary = scorer.summary(result)
    latency = scorer.lookahead_ms(method)["total_ms"]
    pairs = scorer.score_pairs(method)
    worst_pair = min(r[2] - r[1] for r in pairs["rows"])
    h, lung = summary["heart"], summary["lung"]
    print(f"{name}: {time.monotonic() - began:.0f} s", scorer.line(name, summary), flush=True)
    line = (
        f"| {name} | {h['sisdri']:+.1f} | {h['worst_sisdri']:+.1f} | {h['lsd']:.1f} | {h['hsgain_db']:+.1f} "
        f"| {lung['sisdri']:+.1f} | {lung['worst_sisdri']:+.1f} | {100 * summary['crk_lost']:.0f} % "
        f"| {pairs['sisdri']:+.2f} / {worst_pair:+.2f} | {latency:.0f} ms | {summary['rtf']:.4f} |"
    )
    return line, summary | {"rows": result["rows"]}


def block_ms() -> tuple[float, float]:
    """Median and 99th percentile of the time a 32 ms block takes."""
    from agent.dsp.auscultation import AuscultationDenoiser

    denoiser = AuscultationDenoiser()
    x = 0.05 * np.random.default_rng(0).standard_normal((1000, 128))
    took = []
    for block in x:
        began = time.perf_counter()
        denoiser.push(block)
        took.append(1000 * (time.perf_counter() - began))
    return float(np.median(took)), float(np.percentile(took, 99))


def matched(reference: np.ndarray, found: list[float], within_s: float = 0.1) -> int:
    free, hits = list(found), 0
    for r in reference:
        near = [d for d in free if abs(d - r) <= within_s]
        if near:
            free.remove(min(near, key=lambda d: abs(d - r)))
            hits += 1
    return hits


def heart_sounds(scorer: ModuleType) -> list[str]:
    """Rate and S1/S2 from sound, read every half second from 4 s on."""
    from agent.dsp.auscultation import HeartSounds

    lines = []
    for snr in RATE_SNRS:
        read = given = right = hits = expected = found = 0
        firsts = []
        for _, y, m in scorer.mixtures(snrs=(snr,), kinds=("heart",)):
            stage, sounds, first = HeartSounds(), [], float("inf")
            for i in range(0, len(y) - 1999, 2000):
                sounds += stage.push(y[i : i + 2000])
                bpm, t = stage.rate().bpm, (i + 2000) / scorer.FS
                first = min(first, t) if bpm is not None else first
                if "hr" in m and t >= 4:
                    read += 1
                    given += bpm is not None
                    right += bpm is not None and abs(bpm - m["hr"]) <= 5
            firsts.append(first)
            if "s1" in m:  # its S1 times are onsets, 60 ms before the middle, as the scorer takes them
                low, high = 1.0, len(y) / scorer.FS - 1.3
                for kind, times in (("S1", m["s1"] + 0.06), ("S2", m["s2"])):
                    reference = times[(times > low) & (times < high)]
                    detected = [s.time_s for s in sounds if s.kind == kind and low < s.time_s < high]
                    hits += matched(reference, detected)
                    expected += len(reference)
                    found += len(detected)
        f1 = 2 * hits / (expected + found)
        lines.append(
            f"| {snr:+d} | {100 * given / read:.0f} % | {100 * right / max(given, 1):.1f} % "
            f"| {np.median(firsts):.1f} / {np.percentile(firsts, 90):.1f} s | {f1:.3f} |"
        )
    return lines


def spectrograms(scorer: ModuleType) -> list[str]:
    """Draw noisy, denoised and clean for a heart in speech and a lung with crackles being rubbed, at 0 dB."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    names = []
    for kind, noise in (("heart", "speech"), ("lung", "rub")):
        clean, noisy, _ = list(scorer.mixtures(noises=(noise,), snrs=(0,), kinds=(kind,)))[-1 if kind == "lung" else 0]
        out = scorer.Streaming(ours)(noisy, scorer.FS, mode=kind)
        figure, axes = plt.subplots(3, 1, figsize=(7, 5), sharex=True)
        for axis, (title, x) in zip(axes, (("noisy, 0 dB", noisy), ("denoised", out), ("clean", clean)), strict=True):
            axis.specgram(x[8000:28000] + 1e-7, NFFT=256, Fs=scorer.FS, noverlap=192, vmin=-110, vmax=-40)
            axis.set_ylim(0, 700 if kind == "heart" else 1600)
            axis.set_ylabel(f"{title}\nHz")
        axes[-1].set_xlabel("s")
        figure.tight_layout()
        name = f"stethoscope-{kind}.png"
        figure.savefig(PAGE.parent / name, dpi=72)
        names.append(name)
    return names


def by(summary: dict, key: str) -> str:
    return "; ".join(
        f"{kind} " + ", ".join(f"{k} {v:+.1f}" for k, v in summary[kind][key].items()) for kind in ("heart", "lung")
    )


def peer_rows(scorer: ModuleType, snrs: tuple[int, ...], kept: Path) -> tuple[list[str], list[str]]:
    """Give the peers' lines, and which peers could not be had; lines already in `kept` are not scored again."""
    lines = json.loads(kept.read_text()) if kept.exists() else {}
    missing = []
    for name, method in PEER_METHODS.items():
        key = f"{name} {snrs}"
        if key in lines:
            continue
        try:
            method(0.01 * np.random.default_rng(0).standard_normal(8000), scorer.FS)
        except ImportError as error:
            missing.append(f"{name} ({error})")
            continue
        lines[key] = row(scorer, name, method, snrs)[0]
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(lines, indent=1))
    return [lines[f"{name} {snrs}"] for name in PEER_METHODS if f"{name} {snrs}" in lines], missing


def run(snrs: tuple[int, ...]) -> None:
    """Score everything and write the page; runs inside the peers' environment."""
    scorer = load_scorer()
    peers, missing = peer_rows(scorer, snrs, KEPT)
    first, ours_summary = row(scorer, "**Besace**, causal, 32 ms blocks", scorer.Streaming(ours), snrs)
    lines = [first, row(scorer, "Besace without its weights", scorer.Streaming(fallback), snrs)[0], *peers]
    middle, slow = block_ms()
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    images = spectrograms(scorer)
    page = f"""# Stethoscope

Written by `python -m benchmarks.stethoscope`. Ours and the peers on the same {ours_summary["n"]} mixtures (9 hearts and
3 lungs, five noises, {", ".join(map(str, snrs))} dB, 4 kHz), scored by one scorer; gains are of SI-SDR in dB, mean and
worst. None of the recordings and noises scored here was trained on. Pairs: real noisy and clean recordings of the same
heart (do no harm), mean and worst. Latency: measured by changing the future of the input.

{HEAD}
{chr(10).join(lines)}

Peers that could not be had: {", ".join(missing) or "none"}.

- Ours by input SNR (dB): {by(ours_summary, "by_snr")}.
- By noise: {by(ours_summary, "by_noise")}.
- A 32 ms block takes {middle:.2f} ms (median), {slow:.2f} ms (99th percentile) on the machine of this run.

## Heart rate and S1/S2 from sound

Read every half second from 4 s on; right: within 5/min. S1 and S2 each within 100 ms and of the right kind, on the two
clinical recordings whose times are known.

| SNR (dB) | rate given | right | first value, median / p90 | S1/S2 F1 |
|---|---|---|---|---|
{chr(10).join(heart_sounds(scorer))}

## Before and after

{chr(10).join(f"![{name}]({name})" for name in images)}
"""
    PAGE.write_text(page)
    print(page)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stethoscope", description=__doc__)
    parser.add_argument("--peers", type=Path, default=PEERS, help="virtual environment of the peers, made when absent")
    parser.add_argument("--snrs", type=int, nargs="+", default=[-5, 0, 5, 10, 15])
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        run(tuple(given.snrs))
        return
    python = given.peers / "bin" / "python"
    if not python.exists():
        venv.create(given.peers, with_pip=True)
        wanted = [line for line in REQUIREMENTS.read_text().splitlines() if line and not line.startswith("#")]
        for requirement in wanted:  # one by one: a peer that cannot be had is said, the others are measured
            subprocess.run([python, "-m", "pip", "install", "-q", requirement], check=False)
    command = [python, "-m", "benchmarks.stethoscope", "--inside", "--snrs", *map(str, given.snrs)]
    subprocess.run(command, cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
