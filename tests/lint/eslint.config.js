// Which rules hold, and where the code runs. The parts of tests/run give it the root of the repository as its folder.

import js from '@eslint/js';
import globals from 'globals';

export default [
  { ignores: ['**/vendor/', 'tests/.cache/', 'tests/guides/.work/', 'target/'] },
  js.configs.recommended,
  { files: ['tests/**'], languageOptions: { globals: globals.node } },
  // What a test says with `tab.run` runs in the page.
  { files: ['broker/src/admin/demo/**', 'tests/clients/{browser,demo}/**'], languageOptions: { globals: globals.browser } },
];
