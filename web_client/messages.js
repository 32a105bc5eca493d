// @ts-check
/**
 * Binary messages of the data channels, little-endian; the other end is `realtime/connection/frames.py`.
 *
 * `audio` (gateway to page), 20 ms of speech each:
 *
 *     0  u32  response number (`response.created.number`)
 *     4  u32  position of the first sample in the response, 24 kHz samples
 *     8  u16  flags: 1 = last message of the response
 *     10 u16  samples that follow
 *     12 PCM16 mono 24 kHz
 *
 * `camera` (page to gateway), one slice of one JPEG file each:
 *
 *     0  u8   kind: 1 = still of the camera, 2 = a picture the person shows
 *     1  u8   zero
 *     2  u16  picture number, modulo 65 536
 *     4  u32  offset of this slice in the file
 *     8  u32  size of the file
 *     12 at most 16 372 bytes of it
 */

export const SPEECH_RATE = 24_000;
const HEADER_BYTES = 12;
const LAST = 1;
export const MAX_SLICE_BYTES = 16 * 1024 - HEADER_BYTES;

/** What a picture on the channel `camera` is. */
export const PictureKind = Object.freeze({ STILL: 1, SHOWN: 2 });

/** Largest files the page sends, in bytes; the gateway takes no larger picture. */
export const MAX_STILL_BYTES = 80_000;
export const MAX_SHOWN_BYTES = 2 * 1024 * 1024;

/** A message that does not have the form above; the text says what was expected and what came. */
export class MessageError extends Error {}

/**
 * 20 ms of speech: `samples` belong at sample `position` of response `number`.
 * @typedef {{number: number, position: number, last: boolean, samples: Int16Array}} SpeechMessage
 */

/**
 * Reads one message of the channel `audio`; the samples share the buffer.
 * @param {ArrayBuffer} buffer
 * @returns {SpeechMessage}
 */
export function decodeSpeech(buffer) {
  if (buffer.byteLength < HEADER_BYTES) {
    throw new MessageError(`a speech message has at least ${HEADER_BYTES} bytes, got ${buffer.byteLength}`);
  }
  const header = new DataView(buffer);
  const count = header.getUint16(10, true);
  if (buffer.byteLength !== HEADER_BYTES + 2 * count) {
    throw new MessageError(`the header promises ${count} samples, ${buffer.byteLength - HEADER_BYTES} bytes follow`);
  }
  return {
    number: header.getUint32(0, true),
    position: header.getUint32(4, true),
    last: (header.getUint16(8, true) & LAST) !== 0,
    samples: new Int16Array(buffer, HEADER_BYTES, count),
  };
}

/**
 * Cuts a JPEG file into messages of the channel `camera`, in order.
 * @param {number} kind one of `PictureKind`
 * @param {number} number counts pictures; only its low 16 bits travel
 * @param {Uint8Array} file
 * @returns {Generator<ArrayBuffer>}
 */
export function* encodePicture(kind, number, file) {
  const limit = kind === PictureKind.STILL ? MAX_STILL_BYTES : MAX_SHOWN_BYTES;
  if (file.length === 0 || file.length > limit) {
    throw new MessageError(`a picture of kind ${kind} has 1 to ${limit} bytes, this one has ${file.length}`);
  }
  for (let offset = 0; offset < file.length; offset += MAX_SLICE_BYTES) {
    const body = file.subarray(offset, offset + MAX_SLICE_BYTES);
    const message = new Uint8Array(HEADER_BYTES + body.length);
    const header = new DataView(message.buffer);
    header.setUint8(0, kind);
    header.setUint16(2, number & 0xffff, true);
    header.setUint32(4, offset, true);
    header.setUint32(8, file.length, true);
    message.set(body, HEADER_BYTES);
    yield message.buffer;
  }
}
