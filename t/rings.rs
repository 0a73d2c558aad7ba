//! No ring of files in src: whatever a file uses, directly or through others, does not use that file.
//! A type and its methods in files below its own count as one file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use regex::Regex;

use crate::tables::rust_files;

/// A path as its segments.
type Names = Vec<String>;

/// One file of src, without its tests.
struct File {
    module: Names,
    text: String,
    /// What `use` brings in under which name, and what of it others find here.
    uses: BTreeMap<String, Names>,
    exports: BTreeMap<String, Names>,
    /// The modules below it that it declares, its types, and those that have methods here.
    children: BTreeSet<String>,
    types: BTreeSet<String>,
    methods: BTreeSet<String>,
}

#[test]
fn no_files_use_each_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files: BTreeMap<Names, File> = rust_files("src")
        .into_iter()
        .filter(|(path, _)| path.file_stem().is_some_and(|stem| stem != "tests"))
        .map(|(path, text)| module(path.strip_prefix(&root).unwrap(), &text))
        .map(|file| (file.module.clone(), file))
        .collect();
    let rings: Vec<_> = rings(&uses(&files))
        .iter()
        .map(|ring| ring.iter().map(|module| module.join("/")).collect::<Vec<_>>().join(" "))
        .collect();
    assert!(rings.is_empty(), "{} rings:\n{}", rings.len(), rings.join("\n"));
}

/// The finder finds: a ring through a re-export, one through `super::`, and no ring where a type's
/// methods are below it.
#[test]
fn rings_are_found_through_re_exports_and_super() {
    let found = |files: &[(&str, &str)]| {
        let files = files
            .iter()
            .map(|(path, text)| module(Path::new(path), text))
            .map(|file| (file.module.clone(), file))
            .collect();
        rings(&uses(&files)).iter().map(BTreeSet::len).collect::<Vec<_>>()
    };
    let re_export = [
        ("a/mod.rs", "mod b;\nmod c;\npub use b::B;\npub(crate) use c::C;\n"),
        ("a/b.rs", "use crate::a::C;\npub struct B;\n"),
        ("a/c.rs", "pub struct C;\nfn f(_: super::B) {}\n"),
    ];
    assert_eq!(found(&re_export), [2]);
    let parent = [
        ("a.rs", "mod b;\nconst X: u8 = b::Y;\npub const Z: u8 = 1;\n"),
        ("a/b.rs", "// use crate::c;\npub const Y: u8 = super::Z;\n"),
    ];
    assert_eq!(found(&parent), [2]);
    let three = [
        ("a.rs", "use crate::{b::{self, B}, c};\nfn f() { b::g(); }\n"),
        ("b.rs", "use crate::c::{self as d};\npub struct B;\nfn f() { d::g() }\n"),
        ("c.rs", "fn f() { crate::a::g() }\n"),
    ];
    assert_eq!(found(&three), [3]);
    let methods = [
        ("a.rs", "mod b;\npub struct A;\nuse b::f;\n"),
        ("a/b.rs", "use super::A;\nimpl A {}\npub fn f() {}\n"),
        ("c.rs", "use crate::a::A;\n#[cfg(test)]\nmod tests {\n    use crate::d::D;\n}\n"),
        ("d.rs", "use crate::c::C;\n"),
    ];
    assert!(found(&methods).is_empty());
}

/// `smtp/verb/mail.rs` as a module with what it declares.
fn module(path: &Path, text: &str) -> File {
    let mut module: Names =
        path.with_extension("").iter().map(|name| name.to_str().unwrap().to_owned()).collect();
    module.pop_if(|name| name == "mod" || name == "lib");
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let test_only =
        Regex::new(r"(?m)^ *#\[cfg\(test\)\]\n *(pub(\([^)]*\))? )?(use|mod) [^;]*;").unwrap();
    let comment = Regex::new(r"(?m)^\s*//.*$").unwrap();
    let text = comment.replace_all(&test_only.replace_all(text, ""), "").into_owned();
    let (mut uses, mut exports) = (BTreeMap::new(), BTreeMap::new());
    let statement = Regex::new(r"(?m)^(pub(?:\([^)]*\))? )?use ([^;]+);").unwrap();
    for found in statement.captures_iter(&text) {
        for (name, path) in leaves(&found[2], &[]) {
            if found.get(1).is_some() {
                exports.insert(name.clone(), path.clone());
            }
            uses.insert(name, path);
        }
    }
    let text = statement.replace_all(&text, "").into_owned();
    let all = |pattern: &str| -> BTreeSet<String> {
        let pattern = Regex::new(pattern).unwrap();
        pattern.captures_iter(&text).map(|found| found[1].to_owned()).collect()
    };
    let (children, types) = (all(r"\bmod (\w+)"), all(r"\b(?:struct|enum) (\w+)"));
    let methods = all(r"(?m)^impl(?:<[^>]*>)? (\w+)\b");
    File { module, uses, exports, children, types, methods, text }
}

/// The names that the tree of a `use` brings in, and the path of each.
fn leaves(tree: &str, before: &[String]) -> Vec<(String, Names)> {
    let tree = tree.trim();
    let (path, group) = match tree.split_once('{') {
        Some((path, group)) => (path, Some(group.trim_end().strip_suffix('}').unwrap_or(group))),
        None => (tree, None),
    };
    let (path, alias) = match path.split_once(" as ") {
        Some((path, alias)) => (path, Some(alias.trim())),
        None => (path, None),
    };
    let mut all = before.to_vec();
    all.extend(path.split("::").map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned));
    if let Some(group) = group {
        return branches(group).into_iter().flat_map(|branch| leaves(branch, &all)).collect();
    }
    if all.len() > 1 && all.last().is_some_and(|name| name == "self") {
        all.pop();
    }
    let name = alias.or(all.last().map(String::as_str)).unwrap_or("").to_owned();
    vec![(name, all)]
}

/// The parts of a group between the commas that are not in a group of their own.
fn branches(group: &str) -> Vec<&str> {
    let (mut depth, mut from, mut found) = (0, 0, vec![]);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(&group[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    found.push(&group[from..]);
    found.retain(|branch| !branch.trim().is_empty());
    found
}

/// Which files each file uses.
fn uses(files: &BTreeMap<Names, File>) -> BTreeMap<Names, BTreeSet<Names>> {
    let path = Regex::new(r"(?:\b\w+::)+\w+").unwrap();
    let word = Regex::new(r"\w+").unwrap();
    let mut found: BTreeMap<Names, BTreeSet<Names>> = BTreeMap::new();
    for file in files.values() {
        let own = whole(files, file);
        let used = found.entry(own.clone()).or_default();
        let mut paths: Vec<Names> = path
            .find_iter(&file.text)
            .map(|found| found.as_str().split("::").map(str::to_owned).collect())
            .collect();
        let words: BTreeSet<&str> =
            word.find_iter(&file.text).map(|found| found.as_str()).collect();
        // A name that is only handed on is not used.
        let names = file
            .uses
            .iter()
            .filter(|(name, _)| !file.exports.contains_key(*name) || words.contains(name.as_str()));
        paths.extend(names.map(|(_, path)| path.clone()));
        for path in paths {
            if let Some(target) = target(files, file, &path, 0) {
                used.insert(whole(files, target));
            }
        }
        used.remove(&own);
    }
    found
}

/// The file in which that stands to which a path in `file` leads; None for modules and other crates.
fn target<'a>(
    files: &'a BTreeMap<Names, File>,
    file: &'a File,
    path: &[String],
    depth: usize,
) -> Option<&'a File> {
    let full = absolute(file, path)?;
    // The longest beginning that is a file.
    let length = (0..=full.len()).rev().find(|length| files.contains_key(&full[..*length]))?;
    let found = &files[&full[..length]];
    let Some(name) = full.get(length) else {
        return path.last().is_some_and(|name| name == "*").then_some(found);
    };
    match found.exports.get(name) {
        Some(path) if depth < 9 => target(files, found, path, depth + 1).or(Some(found)),
        // A module without a file of its own.
        _ if found.children.contains(name) && full.len() == length + 1 => None,
        _ => Some(found),
    }
}

/// A path of `file` from the root of the crate.
fn absolute(file: &File, path: &[String]) -> Option<Names> {
    let (first, rest) = path.split_first()?;
    let mut base = match first.as_str() {
        "crate" => vec![],
        "self" => file.module.clone(),
        "super" => file.module[..file.module.len().checked_sub(1)?].to_vec(),
        name if file.children.contains(name) => [&file.module[..], &path[..1]].concat(),
        name => match file.uses.get(name) {
            Some(used) if used[0] != *name => absolute(file, used)?,
            _ => return None,
        },
    };
    for name in rest {
        match name.as_str() {
            "super" => drop(base.pop()),
            "self" | "*" => {}
            _ => base.push(name.clone()),
        }
    }
    Some(base)
}

/// The file that a file counts for: the one above it where it has methods of a type of that one.
fn whole(files: &BTreeMap<Names, File>, file: &File) -> Names {
    let Some(above) = file.module.len().checked_sub(1).and_then(|n| files.get(&file.module[..n]))
    else {
        return file.module.clone();
    };
    let has_methods = !above.types.is_disjoint(&file.methods);
    match has_methods && !above.module.is_empty() {
        true => whole(files, above),
        false => file.module.clone(),
    }
}

/// Files of which each uses all others, through some of them.
fn rings(uses: &BTreeMap<Names, BTreeSet<Names>>) -> BTreeSet<BTreeSet<Names>> {
    let reached: BTreeMap<&Names, BTreeSet<&Names>> = uses
        .keys()
        .map(|start| {
            let (mut seen, mut next) = (BTreeSet::new(), vec![start]);
            while let Some(at) = next.pop() {
                next.extend(uses.get(at).into_iter().flatten().filter(|used| seen.insert(*used)));
            }
            (start, seen)
        })
        .collect();
    let ring = |start: &&Names| -> BTreeSet<Names> {
        let mates = reached[*start]
            .iter()
            .filter(|other| reached.get(*other).is_some_and(|reached| reached.contains(*start)));
        mates.map(|mate| (*mate).clone()).collect()
    };
    uses.keys().filter(|start| reached[start].contains(start)).map(|start| ring(&start)).collect()
}
