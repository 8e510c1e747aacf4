//! The pictures: graphs of computations, attention heatmaps and curves, as SVG and PNG.
//!
//! A figure is plain data with a `draw` method ([`Heatmap`], [`Curves`]). Drawing it gives a
//! [`Picture`], which is an SVG document; its PNG form is that document
//! rasterised with a built-in font. So there is one drawing, both forms agree, and no machine's
//! fonts take part: the same data gives the same bytes.
//!
//! | file | what it holds |
//! |---|---|
//! | `heatmap.rs` | where the decoder attended |
//! | `curves.rs` | stacked panels of lines over a shared horizontal axis |
//! | `history.rs` | the curves of training runs |
//! | `performance.rs` | how fast kernels are, over size and over intensity |
//! | `steps.rs` | differences over the step size |
//! | `graph.rs` | the graph of a computation |
//! | `axis.rs` | ranges, ticks and their labels |
//! | `route.rs` | the ways of its edges, around its boxes |
//! | `picture.rs` | the SVG writer, the rasteriser, saving to a file |
//! | `text.rs` | the built-in font: widths, shortening, wrapping |
//! | `theme.rs` | every colour and size |

#![deny(missing_docs)]

mod axis;
mod curves;
mod graph;
mod heatmap;
mod history;
mod performance;
mod picture;
mod route;
mod steps;
mod text;
mod theme;

pub use curves::{Curves, Panel, Scale, Series};
pub use graph::computation;
pub use heatmap::Heatmap;
pub use history::{RunHistory, training_curves};
pub use performance::{rates_over_size, roofline};
pub use picture::{Picture, PictureFormat, PlotError};
pub use steps::difference_steps;
