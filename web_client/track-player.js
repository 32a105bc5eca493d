// @ts-check
/**
 * Stands in for `Player` when the speech comes as an Opus track of the call (`?audio=track`): the gateway paces it and
 * knows what was heard, so nothing is reported; the position here only lets the captions follow.
 */

/** From the gateway to the ear: jitter buffer and output, as the gateway assumes them. */
const DELAY_MS = 100;
const TICK_MS = 50;

/** @typedef {import("./player.js").Heard} Heard */

export class TrackPlayer extends EventTarget {
  #number = 0;
  #flushed = 0;
  #flushes = 0;
  #playedMs = 0;
  #heardMs = 0;
  #paused = false;
  #timer = 0;
  #tickedAt = 0;

  /** Speech does not come this way. */
  accept() {}

  /** The gateway sends the speech of this response now. @param {number} number */
  started(number) {
    if (number <= this.#flushed) return;
    this.#number = number;
    this.#heardMs = -DELAY_MS;
    this.#paused = false;
    this.#tickedAt = performance.now();
    clearInterval(this.#timer);
    this.#timer = window.setInterval(() => this.#tick(), TICK_MS);
  }

  /** @param {number} upTo */
  flush(upTo) {
    this.#flushed = Math.max(this.#flushed, upTo);
    this.#flushes += 1;
    if (this.#number > 0 && this.#number <= upTo) this.#finish(true);
  }

  /** @param {number} number */
  pause(number) {
    this.#paused = number === this.#number;
  }

  /** Goes on, from `fromMs` where the cut word is said again. @param {number} _number @param {number} [fromMs] */
  resume(_number, fromMs) {
    if (fromMs !== undefined) this.#heardMs = Math.min(this.#heardMs, fromMs);
    this.#paused = false;
  }

  /** @param {number} _number */
  generated(_number) {}

  /** The gateway's word that all of it was heard. @param {number} number */
  stopped(number) {
    if (number === this.#number) this.#finish(false);
  }

  /** The call is over. */
  close() {
    clearInterval(this.#timer);
  }

  get stats() {
    const playedMs = this.#playedMs + Math.max(0, this.#heardMs);
    return { concealedMs: 0, bufferedMs: 0, flushes: this.#flushes, starved: 0, stale: 0, late: 0, playedMs };
  }

  #tick() {
    const now = performance.now();
    if (!this.#paused) this.#heardMs += now - this.#tickedAt;
    this.#tickedAt = now;
    this.#tell(false, false);
  }

  /** @param {boolean} flushed */
  #finish(flushed) {
    clearInterval(this.#timer);
    this.#tell(flushed, true);
    this.#playedMs += Math.max(0, this.#heardMs);
    this.#heardMs = 0;
    this.#number = 0;
  }

  /** @param {boolean} flushed @param {boolean} final */
  #tell(flushed, final) {
    const heardMs = Math.max(0, this.#heardMs);
    /** @type {Heard} */
    const detail = { number: this.#number, heardMs, bufferedMs: 0, concealedMs: 0, audible: true, flushed, final };
    this.dispatchEvent(new CustomEvent("progress", { detail }));
  }
}
