// @ts-check
/**
 * AudioWorklet processor `onset`: measures the delay from input 0 to input 1 by the beginnings of sounds.
 *
 * Input 0 is what goes into the loopback connection, input 1 what comes out of it. A beginning is the first sample above
 * the threshold after 200 ms of silence.
 *
 * Message from it, at most one for each beginning: {type: "delay", seconds}. Message to it: {type: "stop"}.
 */

const THRESHOLD = 0.004;
const SILENCE_S = 0.2;
const LONGEST_S = 0.6;

/** @type {any} the audio thread's own names, which the page's types do not know */
const scope = globalThis;

class Beginnings {
  #loudFrame = -Infinity;

  /**
   * Frame of the first beginning in this block, or -1.
   * @param {Float32Array | undefined} samples
   * @param {number} frame of the block's first sample
   */
  find(samples, frame) {
    let found = -1;
    for (let i = 0; samples && i < samples.length; i += 1) {
      if (Math.abs(samples[i]) < THRESHOLD) continue;
      if (found < 0 && frame + i - this.#loudFrame > SILENCE_S * scope.sampleRate) found = frame + i;
      this.#loudFrame = frame + i;
    }
    return found;
  }
}

class OnsetProcessor extends scope.AudioWorkletProcessor {
  #sent = new Beginnings();
  #received = new Beginnings();
  #sentFrame = -1;
  #alive = true;

  constructor() {
    super();
    this.port.onmessage = (/** @type {MessageEvent} */ event) => {
      if (event.data.type === "stop") this.#alive = false;
    };
  }

  /** @param {Float32Array[][]} inputs */
  process(inputs) {
    const sent = this.#sent.find(inputs[0][0], scope.currentFrame);
    const received = this.#received.find(inputs[1][0], scope.currentFrame);
    if (sent >= 0) this.#sentFrame = sent;
    if (received >= 0 && this.#sentFrame >= 0) this.#tell(received);
    return this.#alive;
  }

  /** @param {number} received */
  #tell(received) {
    const seconds = (received - this.#sentFrame) / scope.sampleRate;
    this.#sentFrame = -1;
    if (seconds > 0 && seconds < LONGEST_S) this.port.postMessage({ type: "delay", seconds });
  }
}

scope.registerProcessor("onset", OnsetProcessor);
