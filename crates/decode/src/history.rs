//! The tokens and attention of all hypotheses of a beam, as a tree that only grows.

use crate::{Rows, Token};

/// A forest of histories: a node is a token, its path to the root the tokens before it.
///
/// A hypothesis is the number of its last node. Reordering hypotheses moves these numbers and
/// nothing else, so that no history can be mixed up with another.
#[derive(Default)]
pub(crate) struct History {
    nodes: Vec<Node>,
    attention: Rows,
}

struct Node {
    parent: Option<usize>,
    token: Token,
    /// The row of `History::attention`, when there is one.
    attention: Option<usize>,
}

impl History {
    /// Keeps the attention of a step, which all nodes that grow from it share.
    pub(crate) fn keep_attention(&mut self, attention: Option<&[f32]>) -> Option<usize> {
        let attention = attention?;
        self.attention.push_row(attention.iter().copied());
        Some(self.attention.len() - 1)
    }

    /// Adds `token` after `parent` (`None`: as the first) and returns its node.
    pub(crate) fn push(
        &mut self,
        parent: Option<usize>,
        token: Token,
        attention: Option<usize>,
    ) -> usize {
        self.nodes.push(Node { parent, token, attention });
        self.nodes.len() - 1
    }

    /// The tokens on the way to `last`, and their attention.
    pub(crate) fn trace(&self, last: Option<usize>) -> (Vec<Token>, Vec<Vec<f32>>) {
        let path = || std::iter::successors(last, |&node| self.nodes[node].parent);
        let mut tokens: Vec<Token> = path().map(|node| self.nodes[node].token).collect();
        tokens.reverse();
        let mut attention: Vec<Vec<f32>> = path()
            .filter_map(|node| self.attention.get(self.nodes[node].attention?))
            .map(<[f32]>::to_vec)
            .collect();
        attention.reverse();
        (tokens, attention)
    }
}
