import js from '@eslint/js';
import tseslint from 'typescript-eslint';

/** Who may import whom: everything imports core, core imports no other package, adapters never import each other. */
const mayImport = {
  core: [],
  sqlite: ['@refold/core'],
  postgres: ['@refold/core'],
  rabbitmq: ['@refold/core'],
  inversify: ['@refold/core'],
  kafka: ['@refold/core'],
  testing: ['@refold/core'],
};
const packages = Object.keys(mayImport).map((name) => `@refold/${name}`);

const boundaries = Object.entries(mayImport).map(([name, allowed]) => ({
  files: [`packages/${name}/src/**/*.ts`],
  rules: {
    'no-restricted-imports': [
      'error',
      {
        patterns: [
          {
            regex: `^(${packages.filter((other) => !allowed.includes(other)).join('|')})(/|$)`,
            message: `packages/${name} may import ${allowed.join(', ') || 'no other package of ours'}: see docs/architecture.md`,
          },
          { regex: '^(\\.\\./)+[a-z]+/src/', message: 'Import other packages by their name.' },
        ],
      },
    ],
  },
}));

export default tseslint.config(
  { ignores: ['**/dist/', '**/dist-test/', '**/node_modules/', '**/fixtures/'] },
  js.configs.recommended,
  tseslint.configs.recommendedTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/no-confusing-void-expression': 'off',
      '@typescript-eslint/no-import-type-side-effects': 'error',
      // An abort's reason is whatever its signal says.
      '@typescript-eslint/prefer-promise-reject-errors': [
        'error',
        { allowThrowingUnknown: true, allowThrowingAny: true },
      ],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
      // The contracts are asynchronous; an implementation need not wait for anything.
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      eqeqeq: 'error',
      'no-console': 'error',
      'no-restricted-exports': ['error', { restrictDefaultExports: { direct: true } }],
    },
  },
  {
    files: ['packages/*/src/**/*.ts'],
    rules: {
      'max-lines': ['error', { max: 400, skipBlankLines: true, skipComments: true }],
      'max-lines-per-function': ['error', { max: 60, skipBlankLines: true, skipComments: true }],
    },
  },
  {
    files: ['**/test/**/*.ts', 'packages/testing/src/**/*.ts'],
    rules: {
      // chai's assertions are property accesses.
      '@typescript-eslint/no-unused-expressions': 'off',
      'max-lines-per-function': 'off',
      'max-lines': 'off',
    },
  },
  {
    files: [
      ...[
        'examples/**/*.ts',
        'test/bench/**/*.ts',
        'test/crash/**/*.ts',
        'test/delivery-crash/**/*.ts',
        'test/simulation/**/*.ts',
      ],
      'packages/core/src/logger.ts',
    ],
    rules: { 'no-console': 'off' },
  },
  {
    files: ['**/*.js'],
    ...tseslint.configs.disableTypeChecked,
    rules: { 'no-restricted-exports': 'off', ...tseslint.configs.disableTypeChecked.rules },
  },
  ...boundaries,
);
