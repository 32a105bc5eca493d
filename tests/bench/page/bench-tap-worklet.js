// @ts-check
/**
 * Loaded before the page's worklets. Processor `bench-tap` has three inputs (microphone, player, loopback connection) and
 * tells when sounds begin and end on each; it also tells what arrives at the player, and what the player makes up.
 *
 * Messages from it: {list: "sounds" | "arrivals" | "gaps", entry}.
 */

import { Concealment } from "./concealment.js";

/** -40 dB of full scale; a room's noise stays below, the tail of a codec after a flush too. */
const THRESHOLD = 0.01;

/** A sound is over after so much quiet. */
const QUIET_S = 0.1;
const SPEECH_RATE = 24;

/** @type {any} the audio thread's own names */
const scope = globalThis;

/** @type {{number: number, position: number, loud: boolean, time: number, wall: number}[]} */
const arrivals = [];
/** @type {number[]} */
const gaps = [];

watchPlayer();
watchConcealment();

/** Listens at the player's port, after the player itself has taken the message. */
function watchPlayer() {
  const register = scope.registerProcessor;
  scope.registerProcessor = (/** @type {string} */ name, /** @type {any} */ Processor) => {
    register(name, name === "player" ? watched(Processor) : Processor);
  };
}

/** @param {any} Processor */
function watched(Processor) {
  return class extends Processor {
    /** @param {any} options */
    constructor(options) {
      super(options);
      this.port.addEventListener("message", (/** @type {MessageEvent} */ event) => {
        const { type, number, position, samples } = event.data;
        if (type !== "speech") return;
        const loud = samples.some((/** @type {number} */ sample) => Math.abs(sample) > THRESHOLD * 32768);
        arrivals.push({ number, position, loud, time: scope.currentTime, wall: Date.now() });
      });
    }
  };
}

/** Counts the samples that stand in for missing ones, from one true sample to the next. */
function watchConcealment() {
  const { next, rejoin } = Concealment.prototype;
  let run = 0;
  let blending = false;
  Concealment.prototype.next = function () {
    if (!blending) run += 1;
    return next.call(this);
  };
  Concealment.prototype.rejoin = function (sample) {
    if (run > 0) gaps.push(run / SPEECH_RATE);
    run = 0;
    blending = true;
    const joined = rejoin.call(this, sample);
    blending = false;
    return joined;
  };
}

class Sounds {
  /** @param {number} input @param {(entry: object) => void} tell */
  constructor(input, tell) {
    this.input = input;
    this.tell = tell;
    this.begin = -1;
    this.loud = -1;
  }

  /** @param {Float32Array | undefined} samples @param {number} frame of the first one */
  take(samples, frame) {
    for (let i = 0; samples && i < samples.length; i += 1) {
      if (Math.abs(samples[i]) < THRESHOLD) continue;
      this.loud = frame + i;
      if (this.begin < 0) this.begin = this.loud;
    }
    if (this.begin >= 0 && frame - this.loud > QUIET_S * scope.sampleRate) this.#over();
  }

  #over() {
    const { input, begin, loud } = this;
    this.tell({ input, begin: begin / scope.sampleRate, end: loud / scope.sampleRate });
    this.begin = -1;
  }
}

class BenchTap extends scope.AudioWorkletProcessor {
  constructor() {
    super();
    const tell = (/** @type {object} */ entry) => this.port.postMessage({ list: "sounds", entry });
    this.inputs = [0, 1, 2].map((input) => new Sounds(input, tell));
  }

  /** @param {Float32Array[][]} inputs */
  process(inputs) {
    this.inputs.forEach((sounds, index) => sounds.take(inputs[index]?.[0], scope.currentFrame));
    for (const entry of arrivals.splice(0)) this.port.postMessage({ list: "arrivals", entry });
    for (const entry of gaps.splice(0)) this.port.postMessage({ list: "gaps", entry });
    return true;
  }
}

scope.registerProcessor("bench-tap", BenchTap);
