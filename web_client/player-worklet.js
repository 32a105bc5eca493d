// @ts-check
/**
 * AudioWorklet processor `player`: plays the assistant's speech from 24 kHz messages at the context's own rate.
 *
 * Messages to it:
 *   {type: "speech", number, position, last, samples: Int16Array}   20 ms of response `number` (buffer transferred)
 *   {type: "flush", upTo: number}      drop all responses up to this number for good, fade within 5 ms
 *   {type: "pause", number}            fall silent and keep the buffer of this response
 *   {type: "resume", position?}        go on where it paused, or play again from there; counted in `resumes`
 *   {type: "close", number}            the gateway has sent all of this response
 *   {type: "report", asked: number}    report now; the answer carries `asked`
 *   {type: "stop"}                     the processor ends
 *
 * Messages from it, every 40 ms while there is speech and for a second after, and on request:
 *   {type: "report", asked: number | null, time, ...Progress, endings: Ending[]}
 *   `time`: seconds of the context's clock at the end of what was rendered; positions in 24 kHz samples;
 *   `Progress` and `Ending` are described in speech-source.js.
 */

import { Resampler } from "./resampler.js";
import { SpeechSource } from "./speech-source.js";

const SPEECH_RATE = 24_000;
const REPORT_S = 0.04;
const AFTERGLOW_S = 1;

/** @type {any} the audio thread's own names, which the page's types do not know */
const scope = globalThis;

class PlayerProcessor extends scope.AudioWorkletProcessor {
  #source = new SpeechSource();
  #resampler = new Resampler(SPEECH_RATE, scope.sampleRate, () => this.#source.next());
  #alive = true;
  #reportAt = 0;
  #quietAt = 0;

  constructor() {
    super();
    this.port.onmessage = (/** @type {MessageEvent} */ event) => this.#obey(event.data);
  }

  /** @param {any} message */
  #obey(message) {
    if (message.type === "speech") this.#source.accept(message);
    else if (message.type === "flush") this.#source.flush(message.upTo);
    else if (message.type === "pause") this.#source.pause(message.number);
    else if (message.type === "resume") this.#source.resume(message.position);
    else if (message.type === "close") this.#source.close(message.number);
    else if (message.type === "stop") this.#alive = false;
    if (message.type !== "speech") this.#report(message.asked);
  }

  /** @param {Float32Array[][]} _inputs @param {Float32Array[][]} outputs */
  process(_inputs, outputs) {
    this.#resampler.fill(outputs[0][0]);
    this.#reportWhenDue();
    return this.#alive;
  }

  #reportWhenDue() {
    const now = this.#time();
    if (this.#source.progress().number > 0) this.#quietAt = now + AFTERGLOW_S;
    if (now >= this.#reportAt && now <= this.#quietAt) this.#report();
  }

  #report(asked = null) {
    const time = this.#time();
    this.port.postMessage({
      type: "report",
      asked,
      time,
      ...this.#source.progress(),
      endings: this.#source.takeEndings(),
    });
    this.#reportAt = time + REPORT_S;
  }

  #time() {
    return scope.currentTime + 128 / scope.sampleRate;
  }
}

scope.registerProcessor("player", PlayerProcessor);
