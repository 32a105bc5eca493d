// @ts-check
/** Windowed-sinc resampler that pulls its input sample by sample; it delays by 8 input samples. */

const TAPS = 16;
const PHASES = 64;
const PASSBAND = 0.92;

export class Resampler {
  #line = new Float32Array(2 * TAPS);
  #at = 0;
  #phase = 1;

  /**
   * @param {number} from input samples per second
   * @param {number} to output samples per second
   * @param {() => number} pull gives the next input sample
   */
  constructor(from, to, pull) {
    this.step = from / to;
    this.pull = pull;
    this.kernel = kernel(PASSBAND * Math.min(1, to / from));
  }

  /** Fills `output`. @param {Float32Array} output */
  fill(output) {
    for (let i = 0; i < output.length; i += 1) {
      while (this.#phase >= 1) this.#shift();
      output[i] = this.#interpolate();
      this.#phase += this.step;
    }
  }

  #shift() {
    this.#line[this.#at] = this.#line[this.#at + TAPS] = this.pull();
    this.#at = (this.#at + 1) % TAPS;
    this.#phase -= 1;
  }

  #interpolate() {
    const place = this.#phase * PHASES;
    const row = Math.floor(place);
    const share = place - row;
    let sum = 0;
    for (let tap = 0; tap < TAPS; tap += 1) {
      const index = row * TAPS + tap;
      const weight = this.kernel[index] + share * (this.kernel[index + TAPS] - this.kernel[index]);
      sum += weight * this.#line[this.#at + tap];
    }
    return sum;
  }
}

/**
 * Filter weights, one row of `TAPS` for each of `PHASES` + 1 places between two input samples; every row sums to 1.
 * @param {number} cutoff as a share of half the input rate
 */
function kernel(cutoff) {
  const weights = new Float32Array((PHASES + 1) * TAPS);
  for (let row = 0; row <= PHASES; row += 1) {
    let sum = 0;
    for (let tap = 0; tap < TAPS; tap += 1) {
      const distance = tap - TAPS / 2 + 1 - row / PHASES;
      const weight = sinc(cutoff * distance) * window(distance / (TAPS / 2));
      weights[row * TAPS + tap] = weight;
      sum += weight;
    }
    for (let tap = 0; tap < TAPS; tap += 1) weights[row * TAPS + tap] /= sum;
  }
  return weights;
}

/** @param {number} x */
function sinc(x) {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

/** Blackman window over -1..1. @param {number} x */
function window(x) {
  return Math.abs(x) >= 1 ? 0 : 0.42 + 0.5 * Math.cos(Math.PI * x) + 0.08 * Math.cos(2 * Math.PI * x);
}
