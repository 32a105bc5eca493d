// @ts-check
/**
 * How much of a response has left the loudspeaker: the player's position, delayed by what lies behind the player.
 * Times in seconds of one clock, positions in milliseconds of the response.
 */

/** Kept reports: at one every 40 ms they reach back further than any output delay. */
const KEPT = 50;

export class HeardClock {
  /** @type {{time: number, ms: number}[]} */
  #reports = [];
  #heard = 0;
  #holds = false;

  /** The player has given out the first `ms` of the response. @param {number} time @param {number} ms */
  report(time, ms) {
    this.#reports.push({ time, ms });
    if (this.#reports.length > KEPT) this.#reports.shift();
  }

  /**
   * Milliseconds heard at `time`, when sound needs `delay` seconds from the player to the ear. Goes back only by `resume`.
   * @param {number} time
   * @param {number} delay
   */
  at(time, delay) {
    if (!this.#holds) this.#heard = Math.max(this.#heard, this.#positionAt(time - delay));
    return this.#heard;
  }

  /** Nothing more is heard: what is on its way to the ear gets lost. @param {number} time @param {number} delay */
  hold(time, delay) {
    this.at(time, delay);
    this.#holds = true;
  }

  /** It goes on from `ms` on, where it is told; reports from before count no more. @param {number} [ms] */
  resume(ms) {
    this.#holds = false;
    if (ms === undefined) return;
    this.#heard = Math.min(this.#heard, ms);
    this.#reports = [];
  }

  /** @param {number} time */
  #positionAt(time) {
    const after = this.#reports.findIndex((report) => report.time > time);
    if (after === 0) return 0;
    if (after < 0) return this.#reports.length ? this.#reports[this.#reports.length - 1].ms : 0;
    const [a, b] = [this.#reports[after - 1], this.#reports[after]];
    return a.ms + ((b.ms - a.ms) * (time - a.time)) / (b.time - a.time);
  }
}
