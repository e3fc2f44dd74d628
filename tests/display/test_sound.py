"""The stethoscope's packets: what the page's player takes, live or not at all."""

import struct

import numpy as np

from agent.display.sound import HEADER, KEEP_S, Sound, packet


def unpack(data: bytes) -> list[tuple[float, float, list[int]]]:
    found, at = [], 0
    while at < len(data):
        t, fs, n = HEADER.unpack_from(data, at)
        at += HEADER.size
        found.append((t, fs, list(struct.unpack_from(f"<{n}h", data, at))))
        at += 2 * n
    return found


def test_a_packet_byte_by_byte():
    data = packet(1.5, 4000.0, np.array([0.0, 1.0, -1.0, 0.5]))
    assert data == bytes.fromhex("000000000000f83f00007a45040000000000ff7f01800040")


def test_too_loud_is_clipped_and_no_number_is_silence():
    assert unpack(packet(0.0, 4000.0, np.array([3.0, -3.0, np.nan, np.inf])))[0][2] == [32767, -32767, 0, 32767]


def test_a_listener_hears_on_from_where_it_was():
    sound = Sound()
    start = sound.newest
    for i in range(3):
        sound.push(i * 0.1, 4000.0, np.full(400, i / 10))
    data, number = sound.since(start)
    assert [round(t, 3) for t, _, _ in unpack(data)] == [0.0, 0.1, 0.2]
    assert sound.since(number) == (b"", number)


def test_who_falls_behind_misses_the_old_sound():
    sound = Sound()
    for i in range(100):
        sound.push(i * 0.1, 4000.0, np.zeros(400))
    times = [t for t, _, _ in unpack(sound.since(0)[0])]
    assert times[-1] == 9.9
    assert KEEP_S - 0.2 <= 10.0 - times[0] <= KEEP_S + 0.2


def test_what_an_outage_held_back_is_not_played_now():
    sound = Sound()
    sound.push(60.0, 4000.0, np.zeros(400))
    number = sound.newest
    sound.push(10.0, 4000.0, np.zeros(400))
    assert sound.since(number) == (b"", number)
