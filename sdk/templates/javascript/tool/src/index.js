// The functions of `wit/tool.wit`: the host makes an HTTP endpoint and an MCP tool of each.

import { embed } from "tessera-sdk";

export const texts = {
  count(text) {
    return { words: text.split(/\s+/).filter(Boolean).length, characters: [...text].length };
  },

  // What a function throws is the error of its result.
  async similarity(a, b) {
    try {
      const { vectors } = await embed([a, b], { normalize: true });
      return vectors[0].reduce((sum, value, index) => sum + value * vectors[1][index], 0);
    } catch (error) {
      throw error.message;
    }
  },
};
