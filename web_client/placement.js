// @ts-check
/**
 * The speech of one response, placed by sample position: messages may come late, twice, out of order or not at all.
 * All positions and lengths are 24 kHz samples. Runs in the audio thread: nothing is allocated per sample.
 */

/** Speech further than this ahead of the reader is refused, so that a page can't be filled up (10 s). */
export const MAX_AHEAD = 240_000;

/** So much of what was played can be played again (1.5 s). */
const KEPT = 36_000;

/** @typedef {{start: number, samples: Int16Array}} Piece */

export class Placement {
  /** @type {Piece[]} by position, none of it read yet */
  #pieces = [];
  /** @type {Piece[]} by position, the latest that were read */
  #read = [];
  #end = -1;

  /** @param {number} number of the response */
  constructor(number) {
    this.number = number;
    /** The next sample to be read. */
    this.position = 0;
    this.late = 0;
    this.duplicate = 0;
    this.refused = 0;
  }

  /**
   * Puts a piece at its place.
   * @param {number} start
   * @param {Int16Array} samples
   * @param {boolean} last the response ends with this piece
   */
  insert(start, samples, last) {
    const end = start + samples.length;
    if (last) this.#end = Math.max(this.#end, end);
    if (samples.length === 0) return;
    if (end <= this.position) this.late += 1;
    else if (end - this.position > MAX_AHEAD) this.refused += 1;
    else this.#place(start, samples);
  }

  /** @param {number} start @param {Int16Array} samples */
  #place(start, samples) {
    let index = this.#pieces.length;
    while (index > 0 && this.#pieces[index - 1].start > start) index -= 1;
    if (index > 0 && this.#pieces[index - 1].start === start) this.duplicate += 1;
    else this.#pieces.splice(index, 0, { start, samples });
  }

  /** Samples from the reader to the end of what is known to exist, missing ones included. */
  get ahead() {
    const newest = this.#pieces[this.#pieces.length - 1];
    const end = newest ? newest.start + newest.samples.length : 0;
    return Math.max(0, end - this.position, this.#end - this.position);
  }

  /** Samples missing right at the reader. */
  get hole() {
    return this.#pieces.length ? Math.max(0, this.#pieces[0].start - this.position) : this.ahead;
  }

  /** The last message has come. */
  get complete() {
    return this.#end >= 0;
  }

  /** Everything has been read. */
  get finished() {
    return this.complete && this.ahead === 0;
  }

  /** Takes the next sample, -1..1; NaN when it is missing, and then the reader stays where it is. */
  take() {
    const piece = this.#pieces[0];
    if (piece === undefined || piece.start > this.position) return NaN;
    const sample = piece.samples[this.position - piece.start] / 32768;
    this.skip(1);
    return sample;
  }

  /** Moves the reader on by `count` samples. @param {number} count */
  skip(count) {
    this.position += count;
    while (this.#pieces.length && endOf(this.#pieces[0]) <= this.position) {
      this.#read.push(/** @type {Piece} */ (this.#pieces.shift()));
    }
    while (this.#read.length && endOf(this.#read[0]) <= this.position - KEPT) this.#read.shift();
  }

  /** Moves the reader back to `position`, or as far as what was read is still here. @param {number} position */
  rewind(position) {
    if (position >= this.position || this.#read.length === 0) return;
    this.position = Math.max(position, this.#read[0].start);
    while (this.#read.length && endOf(this.#read[this.#read.length - 1]) > this.position) {
      this.#pieces.unshift(/** @type {Piece} */ (this.#read.pop()));
    }
  }

  /** Nothing more will come: what is there is all of it. */
  close() {
    this.#end = Math.max(this.#end, this.position + this.ahead);
  }
}

/** @param {Piece} piece */
function endOf(piece) {
  return piece.start + piece.samples.length;
}
