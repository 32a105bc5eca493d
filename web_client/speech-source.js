// @ts-check
/**
 * What the player plays next: responses in the order of their numbers, one 24 kHz sample at a time.
 *
 * It starts when a little is buffered, conceals and counts what is missing, waits when nothing is left, fades within
 * 5 ms when it is flushed or paused and comes back within 30 ms, and never lets a stale sample through. Runs in the audio
 * thread, knows no browser.
 */

import { Concealment } from "./concealment.js";
import { Placement } from "./placement.js";

/** No response: their numbers begin at 0, the line check. */
const NONE = -1;

/** Buffered samples before a response starts or goes on: 20 ms, up to 80 ms on a network that makes us run dry. */
const PREBUFFER = 480;
const PREBUFFER_STEP = 480;
const MAX_PREBUFFER = 1920;

/** How long a hole is waited for when nothing plays yet (40 ms): messages overtake each other. */
const REORDER_WAIT = 960;

/** Dry for so long, a response whose end was lost is over: 1.5 s after the gateway closed it, 300 ms before the next. */
const DRY_AFTER_CLOSE = 36_000;
const DRY_BEFORE_NEXT = 7_200;

const FADE_STEP = 1 / 120;
const RISE_STEP = 1 / 720;
const MAX_RESPONSES = 8;

/** @typedef {import("./messages.js").SpeechMessage} SpeechMessage */

/** A response that was played to its end, and its length in samples. @typedef {{number: number, position: number}} Ending */

/**
 * Where the player is. Lengths in samples; `number` is 0 when there is nothing to play. `concealed` counts in the
 * present response, the last five over the player's life.
 * @typedef {{number: number, position: number, buffered: number, concealed: number, playing: boolean, resumes: number,
 *   flushes: number, starved: number, stale: number, late: number}} Progress
 */

export class SpeechSource {
  /** @type {Placement[]} by number; the first one plays */
  #queue = [];
  /** @type {Ending[]} */
  #endings = [];
  #concealment = new Concealment();
  #flushed = NONE;
  #gain = 1;
  #paused = NONE;
  #closing = false;
  #waiting = true;
  #stalled = 0;
  #prebuffer = PREBUFFER;
  #concealed = 0;
  #counts = { resumes: 0, flushes: 0, starved: 0, stale: 0, late: 0 };
  /** @type {Set<number>} responses that the gateway has closed */
  #closed = new Set();

  /** Takes one message of speech. @param {SpeechMessage} message */
  accept(message) {
    const speech = this.#placement(message.number);
    if (speech) speech.insert(message.position, message.samples, message.last);
    else this.#counts.stale += 1;
  }

  /** Drops everything up to response `upTo`, for good; what sounds fades out within 5 ms. @param {number} upTo */
  flush(upTo) {
    if (upTo <= this.#flushed) return;
    this.#flushed = upTo;
    this.#counts.flushes += 1;
    const first = this.#queue[0];
    this.#queue = this.#queue.filter((speech) => speech.number > upTo);
    if (first === undefined || first.number > upTo) return;
    const sounds = first.position > 0 && this.#gain > 0;
    if (sounds) this.#queue.unshift(first);
    if (sounds) this.#closing = true;
    else this.#rest();
  }

  /** Falls silent and keeps what is buffered of this response. @param {number} number */
  pause(number) {
    this.#paused = number;
  }

  /** Goes on: where it paused, or at an earlier `position` of the paused response. @param {number} [position] */
  resume(position) {
    const speech = this.#queue[0];
    if (position !== undefined && speech !== undefined && this.#holds(speech)) speech.rewind(position);
    this.#paused = NONE;
    this.#counts.resumes += 1;
  }

  /** The gateway has sent all of this response: without a last message it is over when it runs dry. @param {number} number */
  close(number) {
    if (this.#queue.some((speech) => speech.number === number)) this.#closed.add(number);
  }

  /** The next sample, -1..1. */
  next() {
    const speech = this.#queue[0];
    if (speech === undefined || (this.#gain <= 0 && this.#holds(speech))) return 0;
    const sample = this.#sample(speech);
    this.#concealment.push(sample);
    return sample * this.#fade(speech);
  }

  /** @returns {Progress} */
  progress() {
    const speech = this.#queue[0];
    return {
      number: speech?.number ?? 0,
      position: speech?.position ?? 0,
      buffered: speech?.ahead ?? 0,
      concealed: this.#concealed,
      playing: speech !== undefined && !this.#waiting && !this.#closing && !this.#holds(speech),
      ...this.#counts,
    };
  }

  /** The responses that have ended since this was last asked. */
  takeEndings() {
    return this.#endings.splice(0);
  }

  /** @param {number} number @returns {Placement | undefined} undefined for a response that is over */
  #placement(number) {
    const known = this.#queue.find((speech) => speech.number === number);
    if (number <= this.#flushed) return undefined;
    if (known || this.#queue.length >= MAX_RESPONSES) return known;
    const speech = new Placement(number);
    this.#queue.push(speech);
    this.#queue.sort((a, b) => a.number - b.number);
    return speech;
  }

  /** @param {Placement} speech */
  #sample(speech) {
    if (this.#waiting) {
      if (!this.#ready(speech)) return this.#stall(speech);
      this.#go(speech);
    }
    const sample = speech.take();
    if (!Number.isNaN(sample)) return this.#concealment.rejoin(sample);
    if (speech.ahead > 0) return this.#conceal(speech);
    return this.#runDry(speech);
  }

  /** @param {Placement} speech */
  #ready(speech) {
    if (speech.ahead === 0) return false;
    const patience = speech.position > 0 ? Math.min(speech.hole, REORDER_WAIT) : REORDER_WAIT;
    if (speech.hole > 0 && this.#stalled < patience) return false;
    return speech.complete || speech.ahead - speech.hole >= this.#prebuffer;
  }

  /** Starts, or goes on; what was waited for and did not come is not waited for twice. @param {Placement} speech */
  #go(speech) {
    const lost = speech.position > 0 ? Math.min(speech.hole, this.#stalled) : speech.hole;
    speech.skip(lost);
    this.#concealed += lost;
    this.#waiting = false;
    this.#stalled = 0;
  }

  /** @param {Placement} speech */
  #conceal(speech) {
    speech.skip(1);
    this.#concealed += 1;
    return this.#concealment.next();
  }

  /** @param {Placement} speech */
  #runDry(speech) {
    if (speech.finished) {
      this.#end(speech);
      return 0;
    }
    this.#waiting = true;
    this.#counts.starved += 1;
    this.#prebuffer = Math.min(MAX_PREBUFFER, this.#prebuffer + PREBUFFER_STEP);
    return this.#stall(speech);
  }

  /** Time passes without speech. @param {Placement} speech */
  #stall(speech) {
    if (speech.finished) {
      this.#end(speech);
      return 0;
    }
    if (speech.position > 0 || speech.ahead > 0) this.#stalled += 1;
    if (this.#lostItsEnd(speech)) speech.close();
    return speech.position > 0 ? this.#concealment.next() : 0;
  }

  /** @param {Placement} speech */
  #lostItsEnd(speech) {
    if (this.#closed.has(speech.number)) return this.#stalled > DRY_AFTER_CLOSE;
    return this.#queue.length > 1 && this.#stalled > DRY_BEFORE_NEXT;
  }

  /** @param {Placement} speech */
  #holds(speech) {
    return speech.number === this.#paused;
  }

  /** One step of the 5 ms fade; a flushed response is gone at its end. @param {Placement} speech */
  #fade(speech) {
    const silent = this.#closing || this.#holds(speech);
    this.#gain = Math.max(0, Math.min(1, this.#gain + (silent ? -FADE_STEP : RISE_STEP)));
    const gain = this.#gain;
    if (this.#closing && gain <= 0) this.#drop();
    return gain;
  }

  /** Played to its end. @param {Placement} speech */
  #end(speech) {
    this.#endings.push({ number: speech.number, position: speech.position });
    this.#flushed = Math.max(this.#flushed, speech.number);
    if (this.#prebuffer > PREBUFFER) this.#prebuffer -= PREBUFFER_STEP / 2;
    this.#drop();
  }

  #drop() {
    const speech = this.#queue.shift();
    if (speech === undefined) return;
    this.#counts.late += speech.late;
    this.#closed.delete(speech.number);
    this.#rest();
  }

  /** Nothing sounds: the next response begins afresh. */
  #rest() {
    this.#concealment.reset();
    this.#concealed = 0;
    this.#gain = 1;
    this.#paused = NONE;
    this.#closing = false;
    this.#waiting = true;
    this.#stalled = 0;
  }
}
