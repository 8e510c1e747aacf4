//! An allocator that keeps large blocks for the next training step.
//!
//! A step needs the same large arrays as the step before. Given back to the operating system in
//! between, their pages must be mapped and cleared again at each step.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::{self, NonNull};
use std::sync::{Mutex, PoisonError};

/// The smallest block that is kept, as a power of two, and the largest.
const SMALLEST: u32 = 14;
const LARGEST: u32 = 26;
/// Sizes from one power of two to the next: a block is at most an eighth larger than asked for.
const STEPS: usize = 8;
const CLASSES: usize = (LARGEST - SMALLEST) as usize * STEPS + 1;
/// All kept blocks begin at a cache line.
const ALIGNMENT: usize = 64;

/// Keeps blocks of 16 KiB to 64 MiB when they are freed, and hands them out again; others are the
/// system's. A program has it as its allocator, and its training steps stop mapping pages:
///
/// ```
/// #[global_allocator]
/// static ALLOCATOR: unspool_tensor::memory::Recycling = unspool_tensor::memory::Recycling;
/// # fn main() { assert_eq!(vec![0u8; 100_000].len(), 100_000) }
/// ```
///
/// Of each size a program keeps the most that it ever held at once; there are eight sizes from one
/// power of two to the next.
#[derive(Clone, Copy, Debug, Default)]
pub struct Recycling;

/// A kept block; the next of its size stands in its first bytes.
struct Block {
    next: Option<NonNull<Block>>,
}

/// The kept blocks of one size.
struct Kept(Option<NonNull<Block>>);

// SAFETY: the blocks in a list belong to it alone, whichever thread holds the list.
unsafe impl Send for Kept {}

static KEPT: [Mutex<Kept>; CLASSES] = [const { Mutex::new(Kept(None)) }; CLASSES];

/// A size of kept blocks: its number, and what is asked of the system for one.
#[derive(Clone, Copy, PartialEq)]
struct Class {
    number: usize,
    layout: Layout,
}

/// The size of block that such a request gets; `None` when that is the system's.
fn class(layout: Layout) -> Option<Class> {
    let size = layout.size();
    if !(1 << SMALLEST..=1 << LARGEST).contains(&size) || layout.align() > ALIGNMENT {
        return None;
    }
    // The power of two at or below the size, and an eighth of it.
    let power = size.ilog2();
    let step = (1 << power) / STEPS;
    let steps = (size - (1 << power)).div_ceil(step);
    let number = (power - SMALLEST) as usize * STEPS + steps;
    let layout = Layout::from_size_align((1 << power) + steps * step, ALIGNMENT).ok()?;
    Some(Class { number, layout })
}

impl Class {
    /// A kept block, whatever it holds.
    fn take(self) -> Option<NonNull<u8>> {
        let mut kept = KEPT[self.number].lock().unwrap_or_else(PoisonError::into_inner);
        let block = kept.0?;
        // SAFETY: a block in the list is at least `SMALLEST` long, aligned, and was written by
        // `keep`.
        kept.0 = unsafe { block.read().next };
        Some(block.cast())
    }

    /// Keeps a block.
    ///
    /// # Safety
    /// The block is of this class's layout, and nobody uses it any more.
    unsafe fn keep(self, block: NonNull<u8>) {
        let block = block.cast::<Block>();
        let mut kept = KEPT[self.number].lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the block is the caller's, long enough and aligned to `ALIGNMENT`.
        unsafe { block.write(Block { next: kept.0 }) };
        kept.0 = Some(block);
    }
}

// SAFETY: a block of a class comes from the system with that class's layout, which is at least as
// long and as aligned as what was asked for, and stands in one list only while nobody has it. The
// class depends on the layout alone, so a block returns to where it came from.
unsafe impl GlobalAlloc for Recycling {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match class(layout) {
            Some(class) => match class.take() {
                Some(block) => block.as_ptr(),
                // SAFETY: a class's layout is not empty.
                None => unsafe { System.alloc(class.layout) },
            },
            // SAFETY: the caller's.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match class(layout) {
            Some(class) => match class.take() {
                Some(block) => {
                    // SAFETY: a block of the class is at least this long.
                    unsafe { block.write_bytes(0, layout.size()) };
                    block.as_ptr()
                }
                // SAFETY: a class's layout is not empty.
                None => unsafe { System.alloc_zeroed(class.layout) },
            },
            // SAFETY: the caller's.
            None => unsafe { System.alloc_zeroed(layout) },
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match (class(layout), NonNull::new(block)) {
            // SAFETY: the caller got it for this layout, so it is of this class.
            (Some(class), Some(block)) => unsafe { class.keep(block) },
            // SAFETY: the caller's: it came from the system.
            _ => unsafe { System.dealloc(block, layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Ok(wanted) = Layout::from_size_align(size, layout.align()) else {
            return ptr::null_mut();
        };
        match (class(layout), class(wanted)) {
            // SAFETY: the caller's: it came from the system, and stays there.
            (None, None) => unsafe { System.realloc(block, layout, size) },
            // The block has room.
            (before, after) if before == after => block,
            _ => {
                // SAFETY: the new block is as long as was asked for, the old one holds at least
                // what is copied, they are two, and the old one is the caller's to give up.
                unsafe {
                    let new = self.alloc(wanted);
                    if !new.is_null() {
                        ptr::copy_nonoverlapping(block, new, layout.size().min(size));
                        self.dealloc(block, layout);
                    }
                    new
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 8).unwrap()
    }

    #[test]
    fn a_class_holds_what_it_is_asked_for_and_little_more() {
        let mut last = 0;
        for size in (1 << SMALLEST..1 << 20).step_by(997).chain([1 << 26, (1 << 26) - 1]) {
            let class = class(layout(size)).unwrap();
            let found = class.layout.size();
            assert!(found >= size && found <= size + size / STEPS + 1, "{size}: {found}");
            assert!(class.number >= last && class.number < CLASSES, "{size}");
            last = class.number;
            // All sizes of a class have one layout.
            assert!(super::class(class.layout).unwrap() == class, "{size}");
        }
        for size in [0, 1, (1 << 14) - 1, (1 << 26) + 1] {
            assert!(class(layout(size)).is_none(), "{size}");
        }
        assert!(class(Layout::from_size_align(1 << 15, 128).unwrap()).is_none());
    }

    #[test]
    fn blocks_come_again_zeroed_when_asked_and_keep_their_numbers_when_they_grow() {
        let allocator = Recycling;
        // A size that no other test asks for.
        let (size, larger) = (3_333_333, 4_444_444);
        // SAFETY: every block is used within its layout and freed with it once.
        unsafe {
            let first = allocator.alloc(layout(size));
            first.write_bytes(7, size);
            allocator.dealloc(first, layout(size));
            let again = allocator.alloc_zeroed(layout(size));
            assert_eq!(first, again);
            assert!(std::slice::from_raw_parts(again, size).iter().all(|&byte| byte == 0));
            again.add(size - 1).write(9);
            let grown = allocator.realloc(again, layout(size), larger);
            assert_eq!(grown.add(size - 1).read(), 9);
            assert_eq!(grown.addr() % ALIGNMENT, 0);
            let small = allocator.realloc(grown, layout(larger), 100);
            assert_eq!(small.read(), 0);
            let system = allocator.realloc(small, layout(100), 200);
            allocator.dealloc(system, layout(200));
        }
    }

    #[test]
    fn threads_never_share_a_block() {
        std::thread::scope(|scope| {
            for thread in 0..4_u8 {
                scope.spawn(move || {
                    for round in 0..50_usize {
                        let size = 20_000 + 300 * (round % 7);
                        // SAFETY: as above.
                        unsafe {
                            let block = Recycling.alloc(layout(size));
                            block.write_bytes(thread, size);
                            let bytes = std::slice::from_raw_parts(block, size);
                            assert!(bytes.iter().all(|&byte| byte == thread));
                            Recycling.dealloc(block, layout(size));
                        }
                    }
                });
            }
        });
    }
}
