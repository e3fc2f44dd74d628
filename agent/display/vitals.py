"""A whole picture in words: numbers, tiles, and what concerns the bag as one: link, battery, visit, notices."""

from typing import Any

from agent.display import freshness
from agent.display.numbers import numbers
from agent.display.picture import LinkState, Scene
from agent.display.tiles import quality, tile
from agent.display.words import HOUR_S, MINUTE_S, age
from agent.model import Happening, NoValue

DEFICIT_S = 15.0
"""A pulse deficit is told every 10 s while it lasts, and takes a few more to reach the doctor."""
CALLED_S = 15.0
SILENT_S = 5.0
"""A bag that said nothing for this long is said to be silent."""
LATE_S = 60.0
LOW_BATTERY_MIN = 30


def link(scene: Scene) -> Any:
    """Return the way to the hub (on the bag) or to the bag (at the hub) in words."""
    words, picture = scene.words, scene.picture
    if scene.remote:
        if picture.heard_ns is None:
            return {"mark": "idle", "text": words("link.nothing_yet")}
        silent = freshness.age_s(picture.heard_ns, scene.now_ns)
        if silent > SILENT_S:
            return {"mark": "bad", "text": words("link.silent", age=age(silent))}
        newest = max((h.seen_ns for h in picture.streams.values() if h.seen_ns is not None), default=None)
        behind = freshness.age_s(newest, scene.now_ns) if newest is not None else 0.0
        if behind > SILENT_S:
            return {"mark": "todo", "text": words("link.late", age=age(behind))}
        return {"mark": "ok", "text": words("link.live")}
    state, until = picture.link.state, picture.link.until_ns
    match state:
        case LinkState.STARTING:
            return {"mark": "idle", "text": words("link.starting")}
        case LinkState.OFFLINE:
            return {"mark": "todo", "text": words("link.offline")}
        case LinkState.CONNECTED | LinkState.WATCHED:
            mark, text = "ok", words("link.connected")
            if until is not None:
                at = scene.wall(until)
                behind = freshness.age_s(until, scene.now_ns)
                mark = "todo" if behind > LATE_S else "ok"
                text = (
                    words("link.received_ago", since=scene.since(until))
                    if at is None
                    else words("link.received_until", time=f"{at:%H:%M}")
                )
            watched = words("link.watched") if state is LinkState.WATCHED else ""
            return {"mark": mark, "text": text, "watched": watched}


def battery(scene: Scene) -> Any | None:
    """Return what is left in the battery, in hours."""
    minutes, percent = scene.picture.battery
    if minutes is None:
        text = scene.words("battery.percent", percent=percent)
        return None if percent is None else {"mark": "", "text": text}
    hours = f"{minutes * MINUTE_S // HOUR_S} h {minutes % (HOUR_S // MINUTE_S):02d}"
    low = minutes < LOW_BATTERY_MIN
    time = age(minutes * MINUTE_S) if low else hours
    return {"mark": "todo" if low else "", "text": scene.words("battery.low" if low else "battery.hours", time=time)}


def notices(scene: Scene) -> list[Any]:
    """Return what must be seen now, whatever one looks at."""
    found: list[Any] = []
    if scene.recent(scene.picture.called_ns, CALLED_S):
        found.append({"mark": "todo", "text": scene.words("notice.called")})
    ecg = scene.slots.get("ecg")
    rate = scene.picture.heard(ecg).rate if ecg else None
    if rate is not None and rate[0].reason is NoValue.NO_BEATS and scene.recent(rate[1], freshness.CONTINUOUS_MAX_S):
        found.append({"mark": "bad", "text": scene.words.of(NoValue.NO_BEATS)})
    deficits = [h.events.get(Happening.PULSE_DEFICIT) for h in scene.picture.streams.values()]
    if any(scene.recent(at, DEFICIT_S) for at in deficits):
        found.append({"mark": "todo", "text": scene.words.of(Happening.PULSE_DEFICIT)})
    return found


def vitals(scene: Scene) -> dict[str, Any]:
    """Return the whole picture."""
    picture, words = scene.picture, scene.words
    at = scene.wall(scene.now_ns)
    return {
        "clock": f"{at:%H:%M}" if at else "",
        "day_s": at.hour * HOUR_S + at.minute * MINUTE_S + at.second if at else None,
        "numbers": numbers(scene),
        "quality": {slot: quality(scene, slot) for slot in scene.slots},
        "tiles": [tile(scene, key, s, card) for key, s in picture.status.items() if (card := picture.card(key))],
        "link": link(scene),
        "battery": battery(scene),
        "notices": notices(scene),
        "visit": {
            "state": picture.visit_state,
            "text": words(f"visit.{picture.visit_state}"),
            "code": picture.code,
            "outside": "" if picture.visit_state == "visit" else words("visit.outside"),
        },
        "sound": {
            "listening": scene.listening,
            "site": picture.site,
            "empty": words("sweep.no_instrument" if scene.listening else "sound.closed"),
        },
    }
