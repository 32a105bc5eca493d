// @ts-check
/**
 * The page's side of the worklet `player`: takes messages of speech, tells what was heard of each response.
 *
 * Event `progress` with a `Heard`: every 40 ms while something plays, and once with `final`.
 */

import { HeardClock } from "./heard.js";
import { SPEECH_RATE } from "./messages.js";

const SAMPLES_PER_MS = SPEECH_RATE / 1000;

/**
 * What was heard of response `number`. `final`: it was played to its end or flushed, nothing of it follows.
 * `audible`: its first sample has been given out.
 * @typedef {{number: number, heardMs: number, bufferedMs: number, concealedMs: number, audible: boolean,
 *   flushed: boolean, final: boolean}} Heard
 *
 * Counts over the player's life, and what is buffered now.
 * @typedef {{concealedMs: number, bufferedMs: number, flushes: number, starved: number, stale: number, late: number,
 *   playedMs: number}} PlayerStats
 *
 * @typedef {{clock: HeardClock, playedMs: number, bufferedMs: number, concealedMs: number, endMs: number | null}} Track
 */

/**
 * Anything that plays the assistant: `Player` here, `TrackPlayer` for an Opus track.
 * @typedef {EventTarget & {accept(message: import("./messages.js").SpeechMessage): void, started(number: number): void,
 *   generated(number: number): void, stopped(number: number): void, flush(upTo: number): void,
 *   pause(number: number): void, resume(number?: number, fromMs?: number): void, close(): void, stats: PlayerStats}} SpeechPlayer
 */

export class Player extends EventTarget {
  /** @type {Map<number, Track>} responses not final yet */
  #tracks = new Map();
  #flushed = -1;
  #resumes = 0;
  #concealedMs = 0;
  #playedMs = 0;
  /** @type {Partial<import("./speech-source.js").Progress>} */
  #latest = {};

  /**
   * Loads the worklet and connects it to `output`.
   * @param {BaseAudioContext} context
   * @param {AudioNode} output
   * @param {() => number} delay seconds from the player to the ear
   */
  static async open(context, output, delay) {
    await context.audioWorklet.addModule(new URL("./player-worklet.js", import.meta.url));
    const node = new AudioWorkletNode(context, "player", { numberOfInputs: 0, outputChannelCount: [1] });
    node.connect(output);
    return new Player(context, node, delay);
  }

  /** @param {BaseAudioContext} context @param {AudioWorkletNode} node @param {() => number} delay */
  constructor(context, node, delay) {
    super();
    this.context = context;
    this.node = node;
    this.delay = delay;
    node.port.onmessage = (event) => this.#take(event.data);
  }

  /** Plays one message of speech; its buffer is given away. @param {import("./messages.js").SpeechMessage} message */
  accept(message) {
    if (message.number > this.#flushed) this.#track(message.number);
    this.node.port.postMessage({ type: "speech", ...message }, [message.samples.buffer]);
  }

  /** The gateway begins to send its speech: the messages themselves will say so. @param {number} _number */
  started(_number) {}

  /** All of it has been made: if its end gets lost, it is over when it runs dry. @param {number} number */
  generated(number) {
    this.node.port.postMessage({ type: "close", number });
  }

  /** The gateway takes it as heard, from our own reports. @param {number} _number */
  stopped(_number) {}

  /** Silence at once: everything up to response `upTo` is dropped for good, and final. @param {number} upTo */
  flush(upTo) {
    this.node.port.postMessage({ type: "flush", upTo });
    this.#flushed = Math.max(this.#flushed, upTo);
    for (const number of [...this.#tracks.keys()]) {
      if (number <= upTo) this.#finish(number, true);
    }
  }

  /** @param {number} number */
  pause(number) {
    this.node.port.postMessage({ type: "pause", number });
    this.#tracks.get(number)?.clock.hold(this.context.currentTime, this.delay());
  }

  /** Goes on: `fromMs` of response `number` on, or where it paused. @param {number} [number] @param {number} [fromMs] */
  resume(number, fromMs) {
    this.#resumes += 1;
    this.node.port.postMessage({ type: "resume", position: fromMs && Math.round(fromMs * SAMPLES_PER_MS) });
    // What was played to its end is not played again.
    for (const [known, track] of this.#tracks) {
      track.clock.resume(known === number && track.endMs === null ? fromMs : undefined);
    }
  }

  /** The call is over. */
  close() {
    this.node.port.postMessage({ type: "stop" });
    this.node.port.onmessage = null;
    this.node.disconnect();
    this.#tracks.clear();
  }

  /** @returns {PlayerStats} */
  get stats() {
    const { buffered = 0, flushes = 0, starved = 0, stale = 0, late = 0 } = this.#latest;
    const tracks = [...this.#tracks.values()];
    return {
      concealedMs: tracks.reduce((sum, track) => sum + track.concealedMs, this.#concealedMs),
      playedMs: tracks.reduce((sum, track) => sum + track.playedMs, this.#playedMs),
      bufferedMs: buffered / SAMPLES_PER_MS,
      flushes,
      starved,
      stale,
      late,
    };
  }

  /** @param {number} number */
  #track(number) {
    const known = this.#tracks.get(number);
    if (known) return known;
    const track = { clock: new HeardClock(), playedMs: 0, bufferedMs: 0, concealedMs: 0, endMs: null };
    this.#tracks.set(number, track);
    return track;
  }

  /** @param {import("./speech-source.js").Progress & {time: number,
   *   endings: import("./speech-source.js").Ending[]}} report */
  #take(report) {
    this.#latest = report;
    for (const ending of report.endings) this.#note(ending.number, ending.position, report.time, true);
    // A report from before the last resume tells of a place that has been left.
    if (report.number > this.#flushed && report.resumes === this.#resumes) this.#progress(report);
    for (const number of [...this.#tracks.keys()]) this.#tell(number);
  }

  /** @param {import("./speech-source.js").Progress & {time: number}} report */
  #progress(report) {
    const track = this.#note(report.number, report.position, report.time, false);
    if (track === undefined) return;
    track.bufferedMs = report.buffered / SAMPLES_PER_MS;
    track.concealedMs = report.concealed / SAMPLES_PER_MS;
  }

  /** @param {number} number @param {number} position @param {number} time @param {boolean} ended */
  #note(number, position, time, ended) {
    const track = this.#tracks.get(number);
    if (track === undefined) return undefined;
    track.playedMs = position / SAMPLES_PER_MS;
    track.clock.report(time, track.playedMs);
    if (ended) track.endMs = track.playedMs;
    if (ended) track.bufferedMs = 0;
    return track;
  }

  /** Tells how far a response was heard, and finishes it when its end was. @param {number} number */
  #tell(number) {
    const track = /** @type {Track} */ (this.#tracks.get(number));
    const heardMs = track.clock.at(this.context.currentTime, this.delay());
    if (track.endMs !== null && heardMs >= track.endMs) this.#finish(number, false);
    else this.#dispatch(number, track, heardMs, false, false);
  }

  /** @param {number} number @param {boolean} flushed */
  #finish(number, flushed) {
    const track = /** @type {Track} */ (this.#tracks.get(number));
    this.#tracks.delete(number);
    this.#concealedMs += track.concealedMs;
    this.#playedMs += track.playedMs;
    this.#dispatch(number, track, track.clock.at(this.context.currentTime, this.delay()), flushed, true);
  }

  /** @param {number} number @param {Track} track @param {number} heardMs @param {boolean} flushed @param {boolean} final */
  #dispatch(number, track, heardMs, flushed, final) {
    const { bufferedMs, concealedMs } = track;
    const audible = track.playedMs > 0;
    /** @type {Heard} */
    const detail = { number, heardMs, bufferedMs: final ? 0 : bufferedMs, concealedMs, audible, flushed, final };
    this.dispatchEvent(new CustomEvent("progress", { detail }));
  }
}
