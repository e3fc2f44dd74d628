// The live stream and its watchdog: no message for 3 s means that nothing on the page may be believed any more.

const SILENCE_MS = 3000;

export class Live {
  // on: {birth, wave, vitals, lost, closed}; lost(true) when the server fell silent, lost(false) when it speaks again.
  constructor(url, on) {
    this.url = url;
    this.on = on;
    this.heardAt = performance.now();
    this.lost = false;
    this.base = null;
    this.open();
    setInterval(() => this.watch(), 250);
  }

  open() {
    this.source?.close();
    this.source = new EventSource(this.url);
    this.source.onmessage = (event) => this.take(JSON.parse(event.data));
    this.source.addEventListener("closed", () => {
      this.source.close();
      this.over = true;
      this.on.closed?.();
    });
  }

  take(messages) {
    const now = performance.now();
    this.heardAt = now;
    if (this.lost) {
      this.lost = false;
      this.on.lost(false);
    }
    for (const message of messages) {
      if (message.kind === "vitals") this.settle(now / 1000 - message.now);
      this.on[message.kind](message);
    }
  }

  watch() {
    const now = performance.now();
    if (this.over) return;
    if (!this.lost && now - this.heardAt > SILENCE_MS) {
      this.lost = true;
      this.on.lost(true);
    }
    if (this.source.readyState === EventSource.CLOSED && now - (this.triedAt ?? 0) > 2000) {
      this.triedAt = now;
      this.open();
    }
  }

  // Our clock minus the board's: the message least delayed on the way tells best; a slow drift is followed.
  settle(lag) {
    if (this.base === null || lag < this.base || lag - this.base > 5) this.base = lag;
    else this.base += (lag - this.base) * 0.002;
  }

  restart() {
    this.base = null;
  }

  // The board's time now, in seconds; null before the first message.
  now() {
    return this.base === null ? null : performance.now() / 1000 - this.base;
  }
}
