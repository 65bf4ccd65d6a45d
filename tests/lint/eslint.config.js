// The rules, and where the code runs. The parts of tests/run pass the root of the repository as its folder.

import js from '@eslint/js';
import globals from 'globals';

export default [
  { ignores: ['**/vendor/', 'tests/.cache/', 'tests/guides/.work/', 'target/'] },
  js.configs.recommended,
  { files: ['tests/**'], languageOptions: { globals: globals.node } },
  // Functions passed to `tab.run` run in the page.
  { files: ['broker/src/admin/demo/**', 'tests/clients/{browser,demo}/**'], languageOptions: { globals: globals.browser } },
];
