import { expect } from 'chai';
import { docsProgram, ENTRY_POINTS, exportsOf } from './program.js';

describe('docstrings', () => {
  for (const specifier of ENTRY_POINTS) {
    it(`say what every export of ${specifier} is`, () => {
      const exported = exportsOf(specifier);
      const checker = docsProgram().program.getTypeChecker();
      const silent = exported.filter((symbol) => symbol.getDocumentationComment(checker).length === 0);
      expect(exported).to.not.be.empty;
      expect(silent.map(({ name }) => name)).to.deep.equal([]);
    }).timeout(60_000);
  }
});
