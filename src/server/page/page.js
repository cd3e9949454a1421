// The built-in page: each panel is a module that starts by itself.

import './session.js';
import './figures.js';
import './quotes.js';
import './chat.js';
import './watch.js';
import './programs.js';
import './operator.js';
