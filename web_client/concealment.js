// @ts-check
/**
 * Speaks over what is missing: repeats the last pitch period and lets it die away within 60 ms, then blends back.
 * All lengths are 24 kHz samples.
 */

const MEMORY = 1440;
const SHORTEST_PERIOD = 60;
const LONGEST_PERIOD = 480;
const COMPARED = 480;
const HOLD = 240;
const FADE = 1200;
const BLEND = 96;

export class Concealment {
  #memory = new Float32Array(MEMORY);
  #write = 0;
  #period = new Float32Array(LONGEST_PERIOD);
  #length = 0;
  #spoken = 0;
  #blended = BLEND;

  /** Remembers what was played. @param {number} sample */
  push(sample) {
    this.#memory[this.#write] = sample;
    this.#write = (this.#write + 1) % MEMORY;
  }

  /** A sample for a missing one. */
  next() {
    if (this.#length === 0) this.#begin();
    this.#blended = 0;
    const gain = 1 - Math.max(0, this.#spoken - HOLD) / FADE;
    const sample = gain > 0 ? gain * this.#period[this.#spoken % this.#length] : 0;
    this.#spoken += 1;
    return sample;
  }

  /** The true sample, blended with what was spoken for missing ones right before. @param {number} sample */
  rejoin(sample) {
    if (this.#blended >= BLEND) {
      this.#length = 0;
      return sample;
    }
    const blended = this.#blended;
    const spoken = this.next();
    this.#blended = blended + 1;
    const share = this.#blended / BLEND;
    return share * sample + (1 - share) * spoken;
  }

  /** Forgets what was played: the next response has nothing to do with it. */
  reset() {
    this.#memory.fill(0);
    this.#length = 0;
    this.#blended = BLEND;
  }

  #begin() {
    this.#length = this.#pitch();
    this.#spoken = 0;
    for (let i = 0; i < this.#length; i += 1) this.#period[i] = this.#past(this.#length - i);
  }

  /** The sample played `back` samples ago. @param {number} back */
  #past(back) {
    return this.#memory[(this.#write - back + MEMORY) % MEMORY];
  }

  /** The lag at which the last 20 ms resemble what came before; every other sample is enough for that. */
  #pitch() {
    let best = LONGEST_PERIOD;
    let highest = 0;
    for (let lag = SHORTEST_PERIOD; lag <= LONGEST_PERIOD; lag += 2) {
      let product = 0;
      let energy = 1e-9;
      for (let i = 1; i <= COMPARED; i += 2) {
        const before = this.#past(i + lag);
        product += this.#past(i) * before;
        energy += before * before;
      }
      const likeness = product / Math.sqrt(energy);
      if (likeness > highest * 1.01) {
        highest = likeness;
        best = lag;
      }
    }
    return best;
  }
}
