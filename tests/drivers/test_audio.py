"""A sound card, really: PulseAudio's null sink plays, PortAudio records it through ALSA."""

import asyncio
import os
import shutil
import subprocess
import time

import numpy as np
import pytest
from driver_rig import samples_of

from agent.drivers.audio import CardSource, SocketSource, source_at
from agent.drivers.decimate import decimate
from agent.drivers.opening import open_driver
from agent.drivers.stethoscope import HEADER, StethoscopeDecoder
from agent.errors import InstrumentError, InstrumentReason
from agent.model import Gap, InstrumentEvent, InstrumentState
from tests.peers.waiting import until

FS = 16_000
SERVER = """
load-module module-native-protocol-unix socket={folder}/native auth-anonymous=1
load-module module-null-sink sink_name=patient rate=16000 channels=1 format=s16le norewinds=1
set-default-source patient.monitor
"""
ALSA = """
pcm.stethoscope {{ type pulse server "unix:{folder}/native" device "patient.monitor" hint {{ show on }} }}
"""


class Card:
    """A PulseAudio server with one sound card, to be played to."""

    def __init__(self, folder):
        (folder / "server.pa").write_text(SERVER.format(folder=folder))
        (folder / ".asoundrc").write_text(ALSA.format(folder=folder))
        self.env = os.environ | {
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder),
            "PULSE_RUNTIME_PATH": f"{folder}/pulse",
            "PULSE_SERVER": f"unix:{folder}/native",
        }
        start = "pulseaudio -n --daemonize=no --exit-idle-time=-1 --use-pid-file=no --disable-shm=yes -F"
        self.server = subprocess.Popen(
            [*start.split(), folder / "server.pa"], env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.until("info")

    def until(self, *words):
        for _ in range(100):
            if subprocess.run(["pactl", *words], env=self.env, capture_output=True, check=False).returncode == 0:
                return
            time.sleep(0.1)
        raise TimeoutError("pulseaudio does not answer")

    def tell(self, *words):
        subprocess.run(["pactl", *words], env=self.env, check=True, capture_output=True)

    def play(self, samples):
        play = "pacat --playback --raw --device=patient --rate=16000 --channels=1 --format=s16le --latency-msec=2000"
        player = subprocess.Popen(play.split(), env=self.env, stdin=subprocess.PIPE)
        player.stdin.write(samples.astype("<i2").tobytes())
        player.stdin.close()
        return player

    def unplug(self):
        self.server.kill()
        self.server.wait()


@pytest.fixture
def card(tmp_path, monkeypatch):
    for program in ("pulseaudio", "pactl", "pacat"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    pytest.importorskip(
        "sounddevice", exc_type=(ImportError, OSError), reason="sounddevice or PortAudio is not installed"
    )
    server = Card(tmp_path)
    for name in ("HOME", "XDG_RUNTIME_DIR", "PULSE_RUNTIME_PATH", "PULSE_SERVER"):
        monkeypatch.setenv(name, server.env[name])
    yield server
    server.unplug()


class Kept:
    """A decoder that keeps what it is fed."""

    def __init__(self):
        self.samples, self.channels = [], set()

    def feed(self, channel, data, t_ns):
        index, n = HEADER.unpack_from(data)
        assert index == sum(map(len, self.samples))
        self.samples.append(np.frombuffer(data[HEADER.size :], "<i2"))
        assert len(self.samples[-1]) == n
        self.channels.add(channel)
        return []


@pytest.mark.slow
def test_twenty_seconds_arrive_bit_for_bit(card):
    noise = np.random.default_rng(1).integers(-32768, 32768, 20 * FS)
    noise[0] = 12345  # not silence: where it begins can be seen

    async def record():
        source, kept = CardSource("stethoscope"), Kept()
        await source.open()
        player = card.play(noise)
        try:
            end = time.monotonic() + 60
            while time.monotonic() < end:
                await source.read(kept)
                if player.poll() is not None and kept.samples and not kept.samples[-1].any():
                    break
        finally:
            player.kill()
            source.close()
        return kept

    kept = asyncio.run(record())
    assert kept.channels == {"card@16000"}
    heard = np.concatenate(kept.samples)
    begin = int(np.flatnonzero(heard)[0])
    assert len(heard) >= begin + len(noise)
    assert (heard[begin : begin + len(noise)] == noise).all()
    assert not heard[begin + len(noise) :].any()


@pytest.mark.slow
def test_a_gap_that_nobody_reports_is_found_by_the_clock(card):
    """The card falls silent without a word: no samples, no flag, and goes on half a second later."""

    async def record(*, interrupted):
        items = []
        driver = open_driver("stethoscope", "card:stethoscope")
        running = asyncio.create_task(driver.run(items.append))
        await asyncio.sleep(3)
        if interrupted:
            await asyncio.to_thread(card.tell, "suspend-sink", "patient", "1")
            await asyncio.sleep(0.5)
            await asyncio.to_thread(card.tell, "suspend-sink", "patient", "0")
        await asyncio.sleep(3)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return [item for item in items if isinstance(item, Gap)], items

    whole, items = asyncio.run(record(interrupted=False))
    assert whole == []
    assert len(samples_of(items, "stethoscope.sound")) > 4 * 4000
    gaps, _ = asyncio.run(record(interrupted=True))
    assert sum(gap.n for gap in gaps) == pytest.approx(0.5 * 4000, abs=0.1 * 4000)


def test_a_card_that_is_unplugged_ends_with_a_reason(card):
    async def record():
        items = []
        running = asyncio.create_task(open_driver("stethoscope", "card:stethoscope").run(items.append))
        await until(lambda: len(samples_of(items, "stethoscope.sound")))
        await asyncio.to_thread(card.unplug)
        with pytest.raises(InstrumentError) as ended:
            await asyncio.wait_for(running, 20)
        return ended.value.reason, [i.state for i in items if isinstance(i, InstrumentEvent)]

    reason, states = asyncio.run(record())
    assert reason in {InstrumentReason.LINK_LOST, InstrumentReason.SILENT}
    assert states[:3] == [InstrumentState.CONNECTING, InstrumentState.READY, InstrumentState.MEASURING]


def test_a_card_that_is_not_there_is_named_with_those_that_are(card):
    with pytest.raises(InstrumentError, match="no sound card 'otoscope'; present: .*'stethoscope'") as error:
        asyncio.run(CardSource("otoscope").open())
    assert error.value.reason is InstrumentReason.NOT_FOUND


def test_a_bag_without_the_library_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sounddevice", None)
    with pytest.raises(InstrumentError, match=r"pip install 'besace\[sound\]'") as error:
        asyncio.run(CardSource("").open())
    assert error.value.reason is InstrumentReason.STACK_DOWN


@pytest.mark.parametrize("fs_hz", [16_000, 44_100, 48_000])
def test_a_card_s_rate_decides_how_its_sound_is_decimated(fs_hz):
    x = np.random.default_rng(fs_hz).integers(-9000, 9000, fs_hz // 4)
    decoder = StethoscopeDecoder("scope")
    items = decoder.feed(f"card@{fs_hz}", HEADER.pack(0, len(x)) + x.astype("<i2").tobytes(), 10**9)
    assert (samples_of(items, "scope.sound") == decimate(x.astype(np.int32), 0, fs_hz)[1]).all()


def test_where_says_which_source():
    assert isinstance(source_at("card:USB"), CardSource)
    assert isinstance(source_at("pcm:/run/sound"), SocketSource)
