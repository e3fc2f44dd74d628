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
from pathlib import Path
from types import ModuleType

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy, as agent/__main__.py: waiting threads are no work

import numpy as np

from benchmarks.stethoscope_peers import METHODS, Method

ROOT = Path(__file__).parent.parent
SHARED = Path(os.environ.get("BESACE_DATA", ROOT.parent / "shared" / "data")).parent
PEERS = ROOT / "build" / "peers-stethoscope"
KEPT = ROOT / "build" / "stethoscope-peers.json"  # delete it to score the peers again
REQUIREMENTS = ROOT / "benchmarks" / "peers-stethoscope.txt"
PAGE = ROOT / "docs" / "benchmarks" / "stethoscope.md"
RATE_SNRS = (-5, 0, 5)
OTHER_SNRS = (-5, 5, 15)
OTHER_HEARTS = (("N", 20), ("N", 66), ("N", 98), ("MR", 60), ("MR", 150), ("MS", 50), ("MS", 160), ("MVP", 100))
OTHER_LUNGS = ("101_1b1_Al_sc_Meditron", "101_1b1_Pr_sc_Meditron", "103_2b2_Ar_mc_LittC2SE")
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
    summary |= {"pairs": pairs["sisdri"], "worst_pair": worst_pair, "latency": latency, "rows": result["rows"]}
    line = (
        f"| {name} | {h['sisdri']:+.1f} | {h['worst_sisdri']:+.1f} | {h['lsd']:.1f} | {h['hsgain_db']:+.1f} "
        f"| {lung['sisdri']:+.1f} | {lung['worst_sisdri']:+.1f} | {100 * summary['crk_lost']:.0f} % "
        f"| {pairs['sisdri']:+.2f} / {worst_pair:+.2f} | {latency:.0f} ms | {summary['rtf']:.4f} |"
    )
    return line, summary


def met(figures: dict) -> list[str]:
    """What design/signal.md asks of one method, what it reached, and whether that is enough."""
    heart, lung = figures["heart"], figures["lung"]
    kept = 100 * (1 - figures["crk_lost"])
    asked = [
        ("heart, mean gain", "≥ +8.5 dB", f"{heart['sisdri']:+.2f} dB", heart["sisdri"] >= 8.5),
        ("heart, worst mixture", "≥ -0.5 dB", f"{heart['worst_sisdri']:+.2f} dB", heart["worst_sisdri"] >= -0.5),
        ("heart, S1/S2", "within ±0.5 dB", f"{heart['hsgain_db']:+.2f} dB", abs(heart["hsgain_db"]) <= 0.5),
        ("heart, log-spectral distance", "≤ 6.5 dB", f"{heart['lsd']:.2f} dB", heart["lsd"] <= 6.5),
        ("lung, mean gain", "≥ +3 dB", f"{lung['sisdri']:+.2f} dB", lung["sisdri"] >= 3),
        ("lung, worst mixture", "≥ -1 dB", f"{lung['worst_sisdri']:+.2f} dB", lung["worst_sisdri"] >= -1),
        ("crackles kept within 6 dB", "≥ 95 %", f"{kept:.1f} %", kept >= 95),
        ("real pairs, mean", "≥ -0.05 dB", f"{figures['pairs']:+.2f} dB", figures["pairs"] >= -0.05),
        ("real pairs, worst", "≥ -0.3 dB", f"{figures['worst_pair']:+.2f} dB", figures["worst_pair"] >= -0.3),
        ("delay and look-ahead", "≤ 64 ms", f"{figures['latency']:.2f} ms", figures["latency"] <= 64),
        ("real-time factor", "≤ 0.01", f"{figures['rtf']:.4f}", figures["rtf"] <= 0.01),
    ]
    return [f"| {what} | {wanted} | {got} | {'yes' if enough else '**no**'} |" for what, wanted, got, enough in asked]


def elsewhere(scorer: ModuleType) -> str:
    """Our line on recordings the table does not hold, in noises of another seed."""

    def others(_which: str) -> list:
        hearts = [scorer.yaseen(kind, i) for kind, i in OTHER_HEARTS]
        lungs = [scorer.lungfile(scorer.find(f"icbhi/{name}.flac")) for name in OTHER_LUNGS]
        return [*hearts, *lungs, scorer.lung_with_crackles(scorer.find(f"icbhi/{OTHER_LUNGS[0]}.flac"), 9)]

    kept, scorer.clean_set = scorer.clean_set, others
    try:
        result = scorer.summary(scorer.score(scorer.Streaming(ours), snrs=OTHER_SNRS, seed=1))
    finally:
        scorer.clean_set = kept
    h, lung = result["heart"], result["lung"]
    return (
        f"{result['n']} mixtures of {len(OTHER_HEARTS)} other hearts and {len(OTHER_LUNGS) + 1} other lungs at "
        f"{', '.join(map(str, OTHER_SNRS))} dB, other seed: heart {h['sisdri']:+.2f} dB (worst "
        f"{h['worst_sisdri']:+.2f}), LSD {h['lsd']:.2f}, S1/S2 {h['hsgain_db']:+.2f} dB; lung {lung['sisdri']:+.2f} dB "
        f"(worst {lung['worst_sisdri']:+.2f}); crackles lost {100 * result['crk_lost']:.0f} %."
    )


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
        for clean, y, m in scorer.mixtures(snrs=(snr,), kinds=("heart",)):
            stage, sounds, first = HeartSounds(), [], float("inf")
            reference_bpm = m["hr"] if "s1" in m else scorer.hr_pcg(clean)
            for i in range(0, len(y) - 1999, 2000):
                sounds += stage.push(y[i : i + 2000])
                bpm, t = stage.rate().bpm, (i + 2000) / scorer.FS
                first = min(first, t) if bpm is not None else first
                if t >= 4:
                    read += 1
                    given += bpm is not None
                    right += bpm is not None and abs(bpm - reference_bpm) <= 5
            firsts.append(first)
            if "s1" in m:  # its S1 times are onsets, 60 ms before the middle, as the scorer takes them
                low, high = 1.0, len(y) / scorer.FS - 1.3
                for kind, times in (("S1", m["s1"] + 0.06), ("S2", m["s2"])):
                    reference = times[(times > low) & (times < high)]
                    detected = [s.time_s for s in sounds if s.kind == kind and low < s.time_s < high]
                    hits += matched(reference, detected)
                    expected += len(reference)
                    found += len(detected)
        firsts.sort()
        middle, late = (f"{firsts[int(q * len(firsts))]:.1f}" for q in (0.5, 0.9))
        f1 = 2 * hits / (expected + found)
        lines.append(
            f"| {snr:+d} | {100 * given / read:.0f} % | {100 * right / max(given, 1):.1f} % "
            f"| {middle} / {late} s | {f1:.3f} |".replace("inf s", "never")
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
            axis.set_title(title, loc="left", fontsize="small")
            axis.set_ylabel("Hz")
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


def peer_rows(scorer: ModuleType, snrs: tuple[int, ...], kept: Path, *, new: bool) -> tuple[list[str], list[str]]:
    """Give the peers' lines, and which peers could not be had; lines already in `kept` are not scored again."""
    lines = json.loads(kept.read_text()) if kept.exists() else {}
    missing = []
    for name, method in METHODS.items():
        key = f"{name} {snrs}"
        if key in lines:
            continue
        if not new:
            missing.append(f"{name} (not scored in this run)")
            continue
        try:
            method(0.01 * np.random.default_rng(0).standard_normal(8000), scorer.FS)
        except ImportError as error:
            missing.append(f"{name} ({error})")
            continue
        lines[key] = row(scorer, name, method, snrs)[0]
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(lines, indent=1))
    return [lines[f"{name} {snrs}"] for name in METHODS if f"{name} {snrs}" in lines], missing


def run(snrs: tuple[int, ...], *, ours_only: bool) -> None:
    """Score everything and write the page; runs inside the peers' environment."""
    scorer = load_scorer()
    peers, missing = peer_rows(scorer, snrs, KEPT, new=not ours_only)
    first, ours_summary = row(scorer, "**Besace**, causal, 32 ms blocks", scorer.Streaming(ours), snrs)
    classical, _ = row(scorer, "Besace without its weights", scorer.Streaming(fallback), snrs)
    lines = [first, classical, *peers]
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

Peers are scored once and their lines kept: they may be of an earlier run.
Peers missing: {", ".join(missing) or "none"}.

## Asked and reached

| figure | asked | reached | met |
|---|---|---|---|
{chr(10).join(met(ours_summary))}

On other recordings, in noises of another seed: {elsewhere(scorer)}

- Ours by input SNR (dB): {by(ours_summary, "by_snr")}.
- By noise: {by(ours_summary, "by_noise")}.
- A 32 ms block takes {middle:.2f} ms (median), {slow:.2f} ms (99th percentile) on the machine of this run.

## Heart rate and S1/S2 from sound

Read every half second from 4 s on; right: within 5/min of the marked beats, or where none are marked of what the
scorer's own autocorrelation finds in the clean sound (one file's name promises 8/min more than it sounds). S1 and S2
each within 100 ms and of the right kind, on the two clinical recordings whose times are known.

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
    parser.add_argument("--ours", action="store_true", help="score ours only, beside the peers' lines that are kept")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        run(tuple(given.snrs), ours_only=given.ours)
        return
    python = given.peers / "bin" / "python"
    if not python.exists():
        venv.create(given.peers, with_pip=True)
        wanted = [line for line in REQUIREMENTS.read_text().splitlines() if line and not line.startswith("#")]
        for requirement in wanted:  # one by one: a peer that cannot be had is said, the others are measured
            subprocess.run([python, "-m", "pip", "install", "-q", requirement], check=False)
    command = [python, "-m", "benchmarks.stethoscope", "--inside", "--snrs", *map(str, given.snrs)]
    command += ["--ours"] if given.ours else []
    subprocess.run(command, cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
