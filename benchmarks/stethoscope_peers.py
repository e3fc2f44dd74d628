"""Denoisers that others made, each as a function of a whole recording (samples within ±1, rate in Hz[, mode])."""

from collections.abc import Callable

import numpy as np

Method = Callable[..., np.ndarray]
HEART_BAND_HZ, LUNG_BAND_HZ = (25.0, 400.0), (80.0, 1500.0)


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


METHODS: dict[str, Method] = {
    "zero-phase band-pass": band_pass,
    "wavelet BayesShrink": bayes_shrink,
    "speexdsp": speexdsp,
    "log-MMSE": log_mmse,
    "noisereduce": noise_reduce,
    "WebRTC NS": webrtc_ns,
    "RNNoise": rnnoise,
}
