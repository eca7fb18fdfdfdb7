/**
 * GPT-2's printable stand-ins for the 256 bytes: printable Latin-1 stands for itself, the other bytes become U+0100 and up in
 * byte order. Index = byte.
 */
export const BYTE_CHARACTERS: readonly string[] = byteCharacters();

function byteCharacters(): string[] {
  let shifted = 0;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    return String.fromCodePoint(printable ? byte : 0x100 + shifted++);
  });
}
