// The binary messages of the room's socket. Pure.

const HEAD_BYTES = 32;
const SPEECH = 1;
const OWN_VOICE_KIND = 2;
const CONTINUES = 1;
const MOUTH_FIELDS = 4;

/** Stands for a session's ID where the bot speaks with its own voice: no avatar, and no mouth. */
export const OWN_VOICE = "";

/**
 * Read a binary message; null for one of a kind that is not known here.
 *
 * Returns the session's ID, when its first sample sounds (`startsAt`, seconds of the sandbox's clock),
 * whether it `continues` what came before, its samples (`pcm`, 16 bit), and mouth frames from
 * `mouthAt` on (`mouth`, four bytes each).
 */
export function readSpeech(buffer) {
  const head = new DataView(buffer);
  if (buffer.byteLength < HEAD_BYTES) return null;
  if (![SPEECH, OWN_VOICE_KIND].includes(head.getUint8(0))) return null;
  const idBytes = head.getUint16(2, true);
  const samples = head.getUint32(4, true);
  const frames = head.getUint32(24, true);
  const pcmOffset = HEAD_BYTES + Math.ceil(idBytes / 4) * 4;
  return {
    sessionId: new TextDecoder().decode(new Uint8Array(buffer, HEAD_BYTES, idBytes)),
    continues: (head.getUint8(1) & CONTINUES) !== 0,
    startsAt: head.getFloat64(8, true),
    mouthAt: head.getFloat64(16, true),
    number: head.getUint32(28, true),
    pcm: new Int16Array(buffer, pcmOffset, samples),
    mouth: new Uint8Array(buffer, pcmOffset + samples * 2, frames * MOUTH_FIELDS),
  };
}
