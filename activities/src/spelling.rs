//! Which name was meant by one that is written with slips.

/// Returns the known name that was probably meant, where no other is lawful: one that differs by few
/// letters.
pub fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let nearest = known.iter().map(|known| (distance(name, known), *known)).min()?;
    (nearest.0 <= 2.max(name.len() / 5)).then_some(nearest.1)
}

/// Tells whether one letter is too many, missing or another, or two have changed places: where any other
/// name is lawful, more is another word.
pub fn is_one_slip(name: &str, known: &str) -> bool {
    let (mut a, mut b) = (name.as_bytes(), known.as_bytes());
    while let ([x, rest_of_a @ ..], [y, rest_of_b @ ..]) = (a, b)
        && x == y
    {
        (a, b) = (rest_of_a, rest_of_b);
    }
    while let ([rest_of_a @ .., x], [rest_of_b @ .., y]) = (a, b)
        && x == y
    {
        (a, b) = (rest_of_a, rest_of_b);
    }
    match (a, b) {
        ([_], [] | [_]) | ([], [_]) => true,
        ([a, b], [c, d]) => a == d && b == c,
        (_, _) => false,
    }
}

/// How many letters to insert, remove or change.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
