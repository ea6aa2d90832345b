// Text and its bytes in UTF-8.

/** The bytes of a text. */
export function encode(text) {
  const binary = unescape(encodeURIComponent(text));
  const bytes = new Uint8Array(binary.length);
  for (let index = 0; index < binary.length; index++) {
    bytes[index] = binary.charCodeAt(index);
  }
  return bytes;
}

// Arguments that one call of a function takes.
const ARGUMENTS_MAX = 4096;

/** The text of bytes; a URIError where they are no UTF-8. */
export function decode(bytes) {
  let binary = "";
  for (let start = 0; start < bytes.length; start += ARGUMENTS_MAX) {
    binary += String.fromCharCode.apply(null, bytes.subarray(start, start + ARGUMENTS_MAX));
  }
  return decodeURIComponent(escape(binary));
}
