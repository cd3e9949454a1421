//! A set of patterns as one state machine. A search through the index of topics takes one step for each node, however many patterns there
//! are.

use std::sync::Arc;

use foldhash::HashMap;

use crate::topic_name::Pattern;

/// The most states that are kept. A search that needs more computes them again.
const STATES_MAX: usize = 4_096;

/// Patterns that names are matched against, token by token.
///
/// The patterns form a trie. A state is the set of the trie's nodes that the tokens so far lead to. Each state is computed once, because
/// most names lead to the same few states.
#[derive(Debug)]
pub struct Selection {
    nodes: Vec<PatternNode>,
    /// The numbers of the tokens that the patterns name.
    tokens: HashMap<Box<str>, u32>,
    /// The tokens by their numbers, from [`FIRST_NAMED`] on.
    texts: Vec<Box<str>>,
    states: Vec<StateInfo>,
    by_nodes: HashMap<Box<[u32]>, State>,
    steps: HashMap<(State, u32), State>,
    /// Whether wildcards match a first token that begins with `$`.
    matches_system: bool,
    /// How many nodes were visited to compute states.
    searched: usize,
    /// Whether a pattern was added since the states were computed.
    is_stale: bool,
}

/// The number of a state: of a set of nodes that the tokens of a name have led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct State(u32);

/// The number of every token that no pattern names.
const OTHER: u32 = 0;

/// The number of a first token that begins with `$`, that no pattern names, and that wildcards don't match.
const OTHER_SYSTEM: u32 = 1;

/// The number of the first token that a pattern names.
const FIRST_NAMED: u32 = 2;

/// The state in which no pattern matches, whatever follows.
const DEAD: State = State(0);

/// The state in which a pattern matches, whatever follows.
const ALL: State = State(1);

/// The state before the first token.
const ROOT: State = State(2);

#[derive(Debug, Default)]
struct PatternNode {
    /// The nodes that tokens lead to, by the number of the token.
    children: HashMap<u32, u32>,
    /// The node that `*` leads to.
    any: Option<u32>,
    /// Whether a pattern has `>` as its next token here.
    rest: bool,
    /// Whether a pattern ends here.
    is_end: bool,
}

#[derive(Debug)]
struct StateInfo {
    nodes: Box<[u32]>,
    /// Whether a pattern matches the name that leads here.
    is_match: bool,
    /// Whether a pattern has a continuation for every token.
    is_wide: bool,
    /// The tokens with a continuation, sorted. Empty if every token has one.
    named: Arc<[Box<str>]>,
}

impl Default for Selection {
    /// No names.
    fn default() -> Self {
        Self {
            nodes: vec![PatternNode::default()],
            tokens: HashMap::default(),
            texts: Vec::new(),
            states: Vec::new(),
            by_nodes: HashMap::default(),
            steps: HashMap::default(),
            matches_system: false,
            searched: 0,
            is_stale: true,
        }
    }
}

impl Selection {
    /// All names.
    pub fn all() -> Self {
        let mut selection = Self { matches_system: true, ..Self::default() };
        selection.nodes[0].rest = true;
        selection
    }

    /// The names that any of `patterns` matches.
    pub fn of<'a>(patterns: impl IntoIterator<Item = &'a Pattern>) -> Self {
        let mut selection = Self::default();
        patterns.into_iter().for_each(|pattern| selection.add(pattern));
        selection
    }

    /// Adds `pattern`. The next slice of a search matches it too.
    pub fn add(&mut self, pattern: &Pattern) {
        self.is_stale = true;
        let mut node = 0;
        for token in pattern.tokens() {
            let next = self.nodes.len() as u32;
            let of_node = &mut self.nodes[node];
            let child = match token {
                ">" => {
                    of_node.rest = true;
                    return;
                }
                "*" => *of_node.any.get_or_insert(next),
                _ => {
                    let number = number_of(token, &mut self.tokens, &mut self.texts);
                    *of_node.children.entry(number).or_insert(next)
                }
            };
            if child == next {
                self.nodes.push(PatternNode::default());
            }
            node = child as usize;
        }
        self.nodes[node].is_end = true;
    }

    /// Begins a slice of a search. States from earlier slices are not valid any more.
    pub fn begin(&mut self) -> State {
        if self.is_stale || self.states.len() > STATES_MAX {
            self.forget();
        }
        ROOT
    }

    /// Whether a pattern matches the name that has led to `state`.
    pub fn is_match(&self, state: State) -> bool {
        self.states[state.0 as usize].is_match
    }

    /// The tokens for which a pattern has a continuation from `state`, sorted; `None`: every token may have one.
    pub fn next_tokens(&self, state: State) -> Option<Arc<[Box<str>]>> {
        let state = &self.states[state.0 as usize];
        (!state.is_wide).then(|| Arc::clone(&state.named))
    }

    /// The state behind `token` from `state`; `None`: no pattern can match.
    pub fn step(&mut self, state: State, token: &str) -> Option<State> {
        let found = if state == ALL { ALL } else { self.found(state, token) };
        (found != DEAD).then_some(found)
    }

    /// How many nodes were visited to compute states since the last call.
    pub fn take_searched(&mut self) -> usize {
        std::mem::take(&mut self.searched)
    }

    fn found(&mut self, state: State, token: &str) -> State {
        let is_system = state == ROOT && !self.matches_system && token.starts_with('$');
        let other = if is_system { OTHER_SYSTEM } else { OTHER };
        let number = self.tokens.get(token).copied().unwrap_or(other);
        if let Some(&known) = self.steps.get(&(state, number)) {
            return known;
        }
        let mut nodes = Vec::new();
        let mut matches_rest = false;
        let from = &self.states[state.0 as usize].nodes;
        self.searched += from.len();
        for &node in from {
            let node = &self.nodes[node as usize];
            nodes.extend(node.children.get(&number));
            nodes.extend(node.any.filter(|_| !is_system));
            matches_rest |= node.rest && !is_system;
        }
        let next = if matches_rest { ALL } else { self.state_of(nodes.into()) };
        self.steps.insert((state, number), next);
        next
    }

    fn state_of(&mut self, nodes: Box<[u32]>) -> State {
        if nodes.is_empty() {
            return DEAD;
        }
        if let Some(&known) = self.by_nodes.get(&nodes) {
            return known;
        }
        let state = State(self.states.len() as u32);
        self.by_nodes.insert(nodes.clone(), state);
        self.states.push(self.describe(nodes));
        state
    }

    fn describe(&self, nodes: Box<[u32]>) -> StateInfo {
        let of = |node: &u32| &self.nodes[*node as usize];
        let is_wide = nodes.iter().map(of).any(|node| node.any.is_some() || node.rest);
        let is_match = nodes.iter().map(of).any(|node| node.is_end);
        let mut named: Vec<Box<str>> = Vec::new();
        if !is_wide {
            let numbers = nodes.iter().map(of).flat_map(|node| node.children.keys());
            named.extend(numbers.map(|&number| self.texts[(number - FIRST_NAMED) as usize].clone()));
            named.sort_unstable();
            named.dedup();
        }
        StateInfo { nodes, is_match, is_wide, named: named.into() }
    }

    /// Forgets all states except `DEAD`, `ALL` and `ROOT`.
    fn forget(&mut self) {
        self.is_stale = false;
        self.by_nodes.clear();
        self.steps.clear();
        let all = StateInfo { is_match: true, is_wide: true, ..self.describe([].into()) };
        self.states = vec![self.describe([].into()), all, self.describe([0].into())];
    }
}

/// The number of a token that a pattern names; a new number for a token that had none.
fn number_of(token: &str, tokens: &mut HashMap<Box<str>, u32>, texts: &mut Vec<Box<str>>) -> u32 {
    if let Some(&number) = tokens.get(token) {
        return number;
    }
    let number = FIRST_NAMED + texts.len() as u32;
    tokens.insert(token.into(), number);
    texts.push(token.into());
    number
}
