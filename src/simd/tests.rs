//! Tests that every step of every kernel equals its definition, row by row.

use std::ops::Range;

use proptest::prelude::*;
use rand_mt::Mt64;

use super::neon::Neon;
use super::search::MAX_DEPTH;
use super::*;

/// Calls a generic function with every kernel that this processor has, and with the emulated one.
macro_rules! for_every_kernel {
    ($check:ident($($argument:expr),*)) => {
        for choice in Choice::all() {
            match choice {
                #[cfg(target_arch = "x86_64")]
                Choice::Avx512(kernel) => $check(kernel, $($argument),*),
                #[cfg(target_arch = "x86_64")]
                Choice::Avx2(kernel) => $check(kernel, $($argument),*),
                #[cfg(target_arch = "aarch64")]
                Choice::Neon(kernel) => $check(kernel, $($argument),*),
                Choice::Portable(kernel) => $check(kernel, $($argument),*),
            }
        }
        if let Some(kernel) = Neon::detect() {
            $check(kernel, $($argument),*);
        }
    };
}

mod bins;
mod i16_keys;
mod shapley;
mod transpose;
mod twister;

/// Random numbers for inputs that are too large for proptest to draw one by one.
struct Random(Mt64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(Mt64::new(seed))
    }

    fn word(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn below(&mut self, n: usize) -> usize {
        (self.word() % n as u64) as usize
    }

    /// Returns true one time in `n`.
    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Draws a value with which code often fails: ties, zeros of both signs, infinities, numbers beyond f32, subnormal numbers and
    /// NaN.
    fn cell(&mut self) -> f64 {
        const SPECIAL: [f64; 12] = [
            0.0,
            -0.0,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            1e300,
            -1e300,
            1e-300,
            1e-40,
            -1e-45,
            f32::MAX as f64,
            f32::MIN_POSITIVE as f64,
        ];
        match self.below(4) {
            0 => self.of(&SPECIAL),
            1 => self.below(7) as f64 - 3.0,
            2 => f64::from(f32::from_bits(self.word() as u32)),
            _ => (self.word() as f64 / u64::MAX as f64 - 0.5) * 1e3,
        }
    }

    fn mask(&mut self) -> Mask {
        Mask(std::array::from_fn(|_| self.word()))
    }
}

fn has(mask: &Mask, row: usize) -> bool {
    mask.0[row / 64] >> (row % 64) & 1 == 1
}

/// Draws numbers of rows, often around the sizes of registers, words and blocks.
fn rows(most: usize) -> impl Strategy<Value = usize> {
    const EDGES: [usize; 17] = [1, 2, 4, 8, 15, 16, 17, 63, 64, 65, 127, 128, 129, 255, 256, 257, 511];
    let edges: Vec<usize> = EDGES.into_iter().chain([512]).filter(|&n| n <= most).collect();
    prop_oneof![1..=most, prop::sample::select(edges)]
}

/// Draws sorted thresholds, some of them equal, with random flags.
fn thresholds(random: &mut Random, n: usize) -> Vec<Threshold> {
    let mut values: Vec<f32> = Vec::new();
    while values.len() < n {
        let value = random.cell() as f32;
        if random.one_in(4) && !values.is_empty() {
            values.push(random.of(&values));
        } else if !value.is_nan() {
            values.push(value);
        }
    }
    // The sort is stable and compares numbers, so zeros of both signs keep their order.
    values.sort_by(|a, b| a.partial_cmp(b).unwrap());
    let mut flag = || random.one_in(2);
    let thresholds = values.into_iter().map(|value| Threshold {
        value,
        missing_above: flag(),
        inverted: flag(),
    });
    thresholds.collect()
}

/// Draws numbers of thresholds, often around those at which a search needs another step.
fn n_thresholds() -> impl Strategy<Value = usize> {
    let edges = (1..=MAX_DEPTH).flat_map(|depth| [(1 << depth) - 2, (1 << depth) - 1, 1 << depth]);
    let most = (1 << MAX_DEPTH) - 1;
    let edges: Vec<usize> = edges.filter(|&n| n <= most).chain([0]).collect();
    prop_oneof![0..=most, prop::sample::select(edges)]
}

fn check_quantise(kernel: impl Kernel, searches: &[Search], values: &mut [f32], words: Range<usize>, tiles: bool) {
    let mut untouched = Planes::NONE;
    untouched.bits.fill(Mask([0x0123_4567_89ab_cdef; WORDS]));
    untouched.missing = untouched.bits[0];
    let mut planes = vec![untouched.clone(); searches.len()];
    if tiles {
        for word in words.clone() {
            let tile = Tile {
                values: &mut *values,
                stride: BLOCK_ROWS,
                first: word * TILE_ROWS,
            };
            kernel.quantise(searches, &tile, &mut planes, word..word + 1);
        }
    } else {
        let tile = Tile {
            values: &mut *values,
            stride: BLOCK_ROWS,
            first: words.start * TILE_ROWS,
        };
        kernel.quantise(searches, &tile, &mut planes, words.clone());
    }
    for ((search, planes), values) in searches.iter().zip(&planes).zip(values.chunks(BLOCK_ROWS)) {
        let n_planes = if search.is_unary() {
            search.len()
        } else {
            search.depth()
        };
        let bits = &planes.bits[..n_planes];
        for (row, value) in values.iter().enumerate() {
            let all = || bits.iter().chain([&planes.missing]);
            if !words.contains(&(row / 64)) {
                assert!(all().all(|mask| has(mask, row) == has(&untouched.missing, row)));
                continue;
            }
            let bits: Vec<bool> = bits.iter().map(|mask| has(mask, row)).collect();
            let above: Vec<bool> = search.thresholds().iter().map(|t| *value > t.value).collect();
            if search.is_unary() {
                assert_eq!(bits, above, "{}: {value}", kernel.name());
            } else {
                let rank: usize = bits.iter().enumerate().map(|(b, &bit)| usize::from(bit) << b).sum();
                let expected = above.iter().filter(|&&above| above).count();
                assert_eq!(rank, expected, "{}: the rank of {value}", kernel.name());
            }
            assert_eq!(has(&planes.missing, row), value.is_nan(), "{}: {value}", kernel.name());
        }
    }
}

/// Counts a block twice, so that counts are seen to add up.
fn check_count(kernel: impl Kernel, search: &Search, origin: f64, exact: bool, values: &[f64; BLOCK_ROWS]) {
    if !kernel.counts() {
        return;
    }
    let name = kernel.name();
    let mut counter = BlockCounter::new(search, exact);
    let key = |value: f64| (value - origin) as f32;
    let mut left_out = Mask::NONE;
    for _ in 0..2 {
        left_out = kernel.count(search, origin, values, &mut counter);
        for (row, &value) in values.iter().enumerate() {
            let is_threshold = search.thresholds().iter().any(|t| key(value) == t.value);
            let is_undecided = is_threshold && !(exact && f64::from(value as f32) == value);
            // An infinite key may be left out without need, because it equals the padding of the search.
            let may_differ = key(value) == f32::INFINITY && !is_undecided;
            assert!(may_differ || has(&left_out, row) == is_undecided, "{name}: {value}");
        }
    }
    let counted = || {
        (0..BLOCK_ROWS)
            .filter(|&row| !has(&left_out, row))
            .map(|row| key(values[row]))
    };
    let n = |condition: &dyn Fn(f32) -> bool| 2 * counted().filter(|&key| condition(key)).count() as u64;
    let total = |mask: &Mask| mask.0.iter().sum::<u64>();
    for (i, threshold) in search.thresholds().iter().enumerate() {
        let (above, equal) = (total(&counter.above[i]), total(&counter.equal[i]));
        assert_eq!(above, n(&|key| key > threshold.value), "{name}: above {i}");
        assert_eq!(equal, n(&|key| key == threshold.value), "{name}: equal to {i}");
    }
    assert_eq!(counter.n, n(&|key| !key.is_nan()), "{name}");
    assert_eq!(counter.n_missing, n(&f32::is_nan), "{name}");
}

fn check_at_or_below(kernel: impl Kernel, values: &[f32], threshold: f32, or_missing: bool) {
    let mut marks = vec![0x0123_4567_89ab_cdef; values.len().div_ceil(64)];
    kernel.at_or_below(values, threshold, or_missing, &mut marks);
    let mut expected = vec![0; marks.len()];
    for (i, &value) in values.iter().enumerate() {
        let marked = value <= threshold || (or_missing && value.is_nan());
        expected[i / 64] |= u64::from(marked) << (i % 64);
    }
    assert_eq!(marks, expected, "{}: {values:?} at {threshold}", kernel.name());
}

fn check_thermometer(kernel: impl Kernel, search: &Search, planes: &Planes, ranks: &[Option<usize>]) {
    let mut masks = vec![Mask([0x0123_4567_89ab_cdef; WORDS]); search.n_masks()];
    kernel.thermometer(search, planes, ranks.len(), &mut masks);
    for (i, (threshold, mask)) in search.thresholds().iter().zip(&masks).enumerate() {
        for (row, rank) in ranks.iter().enumerate() {
            let above = rank.map_or(threshold.missing_above, |rank| rank > i);
            let name = kernel.name();
            assert_eq!(has(mask, row), above != threshold.inverted, "{name}: {rank:?} at {i}");
        }
    }
}

fn check_evaluate(
    kernel: impl Kernel,
    tree: &TreeLogic,
    paths: &[Path],
    base: u8,
    masks: &[Mask],
    start: Mask,
    rows: usize,
) {
    let mut slots = vec![Mask::NONE; tree.n_slots()];
    slots[0] = start;
    let mut planes = [Mask::NONE; MAX_PLANES];
    kernel.evaluate(tree, masks, &mut slots, rows, &mut planes);
    for row in 0..rows {
        let mut reached = vec![has(&start, row)];
        let mut class = base;
        for path in paths {
            let mut here = reached[path.start];
            for split in &path.splits {
                let leaves = here && has(&masks[split.mask], row);
                here &= !leaves;
                class ^= if leaves { split.delta } else { 0 };
                reached.push(leaves);
            }
        }
        let planes = planes[..tree.n_planes()].iter().enumerate();
        let actual = planes.map(|(b, plane)| u8::from(has(plane, row)) << b).sum::<u8>();
        assert_eq!(actual, class, "{}: class of {row}", kernel.name());
        assert!(
            slots
                .iter()
                .zip(reached)
                .all(|(slot, reached)| has(slot, row) == reached)
        );
    }
}

fn check_classes(kernel: impl Kernel, planes: &[Mask], rows: usize) {
    let mut classes = [0xa5; BLOCK_ROWS];
    kernel.classes(planes, &mut classes[..rows]);
    assert!(classes[rows..].iter().all(|&class| class == 0xa5));
    let classes = &classes[..rows];
    for (row, &class) in classes.iter().enumerate() {
        let bits = planes.iter().enumerate();
        let expected = bits.map(|(b, plane)| u8::from(has(plane, row)) << b).sum::<u8>();
        assert_eq!(class, expected, "{}: class of {row}", kernel.name());
    }
}

fn check_add(kernel: impl Kernel, tables: &[Vec<f64>], classes: &[[u8; BLOCK_ROWS]], sums: &[f64]) {
    let values: Vec<ClassValues> = tables.iter().map(|table| ClassValues::new(table)).collect();
    let mut actual = sums.to_vec();
    kernel.add(&values, classes, &mut actual);
    for (row, sum) in actual.into_iter().enumerate() {
        let trees = tables.iter().zip(classes);
        let expected = trees.fold(sums[row], |sum, (table, classes)| {
            sum + table[usize::from(classes[row])]
        });
        assert_eq!(sum.to_bits(), expected.to_bits(), "{}: sum of {row}", kernel.name());
    }
}

proptest! {
    #[test]
    fn quantise_counts_the_thresholds_below(n in n_thresholds(), others in 0..3_usize, start in 0..8_usize, tiles: bool, seed: u64) {
        let mut random = Random::new(seed);
        let lens = std::iter::once(n).chain((0..others).map(|_| random.below(40)).collect::<Vec<_>>());
        let searches: Vec<Search> = lens.map(|n| Search::new(&thresholds(&mut random, n))).collect();
        let mut values = Vec::new();
        for search in &searches {
            values.extend((0..BLOCK_ROWS).map(|_| {
                let near = match search.thresholds() {
                    [] => 0.0,
                    thresholds => random.of(thresholds).value,
                };
                match random.below(5) {
                    0 => near,
                    1 => near.next_up(),
                    2 => near.next_down(),
                    3 => -near,
                    _ => random.cell() as f32,
                }
            }));
        }
        let words = start..start + 1 + random.below(WORDS - start);
        for_every_kernel!(check_quantise(&searches, &mut values, words.clone(), tiles));
    }

    #[test]
    fn count_adds_what_is_above_and_at_each_threshold(n in n_thresholds(), exact: bool, kinds in 1..8_usize, seed: u64) {
        let mut random = Random::new(seed);
        let mut thresholds = thresholds(&mut random, n);
        thresholds.dedup_by(|a, b| a.value == b.value);
        let search = Search::new(&thresholds);
        let origin = if exact { 0.0 } else { random.of(&[0.0, 0.1, -3.0, 1e300]) };
        // The values of a block are of a few kinds only, so that blocks without ties and without NaN occur too.
        let values = std::array::from_fn(|_| {
            let near = if thresholds.is_empty() { 0.0 } else { f64::from(random.of(&thresholds).value) + origin };
            match random.below(kinds) {
                0 => (random.word() as f64 / u64::MAX as f64 - 0.5) * 20.0,
                1 => near,
                2 => near.next_up(),
                3 => near.next_down(),
                4 => f64::from(near as f32),
                5 => -near,
                _ => random.cell(),
            }
        });
        for_every_kernel!(check_count(&search, origin, exact, &values));
    }

    #[test]
    fn at_or_below_marks_values(n in prop_oneof![0..300_usize, prop::sample::select(vec![16, 64, 128])], or_missing: bool, seed: u64) {
        let mut random = Random::new(seed);
        let threshold = random.cell() as f32;
        let values: Vec<f32> = (0..n).map(|_| match random.below(4) {
            0 => threshold,
            1 => threshold.next_up(),
            _ => random.cell() as f32,
        }).collect();
        for_every_kernel!(check_at_or_below(&values, threshold, or_missing));
    }

    #[test]
    fn thermometer_holds_the_rows_above(n in n_thresholds(), rows in rows(512), missing in 0..3_usize, seed: u64) {
        let mut random = Random::new(seed);
        let search = Search::new(&thresholds(&mut random, n));
        let mut planes = Planes::NONE;
        let ranks: Vec<Option<usize>> = (0..rows).map(|row| {
            let rank = if missing == 1 && random.one_in(8) { None } else { Some(random.below(n + 1)) };
            // A kernel could easily miss a single missing value in the last row.
            let rank = if missing == 2 && row == rows - 1 { None } else { rank };
            let (word, bit) = (row / 64, 1 << (row % 64));
            let code = match rank.unwrap_or(0) {
                // The rank in unary: as many ones.
                rank if search.is_unary() => (1 << rank) - 1,
                rank => rank,
            };
            for (b, plane) in planes.bits.iter_mut().enumerate() {
                plane.0[word] |= if code >> b & 1 == 1 { bit } else { 0 };
            }
            planes.missing.0[word] |= if rank.is_none() { bit } else { 0 };
            rank
        }).collect();
        for_every_kernel!(check_thermometer(&search, &planes, &ranks));
    }

    #[test]
    fn evaluate_takes_rows_down_paths(
        lens in prop::collection::vec(0..12_usize, 0..12), n_classes in prop_oneof![1..=256_usize, (0..9_u32).prop_map(|b| 1 << b)],
        rows in rows(512), seed: u64,
    ) {
        let mut random = Random::new(seed);
        let n_masks = 1 + random.below(40);
        let masks: Vec<Mask> = (0..n_masks).map(|_| random.mask()).collect();
        let mut n_splits = 0;
        let paths: Vec<Path> = lens.into_iter().map(|len| {
            let start = random.below(n_splits + 1);
            n_splits += len;
            let mut split = || Split { mask: random.below(n_masks), delta: random.below(n_classes) as u8 };
            Path { start, splits: (0..len).map(|_| split()).collect() }
        }).collect();
        let base = random.below(n_classes) as u8;
        let tree = TreeLogic::new(&paths, base, n_classes, n_masks);
        prop_assert_eq!(1_usize << tree.n_planes(), n_classes.next_power_of_two());
        let all = Mask::first(rows);
        prop_assert_eq!(all.rows().collect::<Vec<_>>(), (0..rows).collect::<Vec<_>>());
        let some = Mask(std::array::from_fn(|word| all.0[word] & random.word()));
        for start in [all, some] {
            for_every_kernel!(check_evaluate(&tree, &paths, base, &masks, start, rows));
        }
    }

    #[test]
    fn classes_combines_the_bits_of_the_planes(n_planes in 0..=8_usize, tiles in 1..=WORDS, seed: u64) {
        let mut random = Random::new(seed);
        let planes: Vec<Mask> = (0..n_planes).map(|_| random.mask()).collect();
        for_every_kernel!(check_classes(&planes, tiles * TILE_ROWS));
    }

    #[test]
    fn add_takes_the_trees_in_order(
        lens in prop::collection::vec(prop_oneof![1..=256_usize, prop::sample::select(vec![1, 15, 16, 17, 31, 32, 33, 64, 255, 256])], 1..=5),
        tiles in 1..=WORDS, seed: u64,
    ) {
        let mut random = Random::new(seed);
        // The numbers have such different sizes that every other order gives other sums.
        let mut number = || match random.below(8) {
            0 => random.of(&[0.0, -0.0, f64::MIN_POSITIVE, -5e-324, 1e300, f64::INFINITY]),
            scale => (random.word() as f64 / u64::MAX as f64 - 0.3) * [1.0, 1e3, 1e8, 1e15][scale % 4],
        };
        let tables: Vec<Vec<f64>> = lens.iter().map(|&len| (0..len).map(|_| number()).collect()).collect();
        let sums: Vec<f64> = (0..tiles * TILE_ROWS).map(|_| number()).collect();
        let classes: Vec<[u8; BLOCK_ROWS]> = lens.iter().map(|&len| std::array::from_fn(|_| random.below(len) as u8)).collect();
        for_every_kernel!(check_add(&tables, &classes, &sums));
    }
}
