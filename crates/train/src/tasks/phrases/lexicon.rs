//! The words of the grammar and their forms.
//!
//! The order of [`NOUNS`] matters. Held-out combinations take every [`HELD_OUT_STEP`]-th noun, and
//! the nouns that a word form depends on stand closer together than that: no form is held out
//! altogether.
//!
//! [`HELD_OUT_STEP`]: super::HELD_OUT_STEP

/// Grammatical gender in French.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gender {
    Masculine,
    Feminine,
}

use Gender::{Feminine, Masculine};

/// What a noun is a name of: who can do things, and what can be done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Animal,
    /// One of whom nobody says "my".
    Person,
    /// A person of whom one may say "my".
    Companion,
    Food,
    Writing,
    Thing,
    Place,
}

#[derive(Debug)]
pub(super) struct Noun {
    /// Singular and plural.
    pub english: [&'static str; 2],
    /// Singular and plural.
    pub french: [&'static str; 2],
    pub gender: Gender,
    pub kind: Kind,
    /// Where one can be with respect to it; empty but for places.
    pub prepositions: &'static [Preposition],
}

/// A preposition, by its English form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Preposition {
    In,
    On,
    Under,
    Behind,
    InFrontOf,
    Near,
    With,
}

use Preposition::{Behind, In, InFrontOf, Near, On, Under};

impl Kind {
    pub(super) fn is_being(self) -> bool {
        self.is_person() || self == Kind::Animal
    }

    pub(super) fn is_person(self) -> bool {
        matches!(self, Kind::Person | Kind::Companion)
    }
}

impl Preposition {
    pub(super) fn english(self) -> &'static str {
        match self {
            In => "in",
            On => "on",
            Under => "under",
            Behind => "behind",
            InFrontOf => "in front of",
            Near => "near",
            Preposition::With => "with",
        }
    }

    pub(super) fn french(self) -> &'static str {
        match self {
            In => "dans",
            On => "sur",
            Under => "sous",
            Behind => "derrière",
            InFrontOf => "devant",
            Near => "près de",
            Preposition::With => "avec",
        }
    }
}

const fn noun(
    english: [&'static str; 2],
    french: [&'static str; 2],
    gender: Gender,
    kind: Kind,
) -> Noun {
    Noun { english, french, gender, kind, prepositions: &[] }
}

const fn place(
    english: [&'static str; 2],
    french: [&'static str; 2],
    gender: Gender,
    prepositions: &'static [Preposition],
) -> Noun {
    Noun { english, french, gender, kind: Kind::Place, prepositions }
}

pub(super) const NOUNS: [Noun; 28] = [
    // Beings, masculine. The h of "héros" forbids elision, that of "homme" does not.
    noun(["cat", "cats"], ["chat", "chats"], Masculine, Kind::Animal),
    noun(["dog", "dogs"], ["chien", "chiens"], Masculine, Kind::Animal),
    noun(["boy", "boys"], ["garçon", "garçons"], Masculine, Kind::Person),
    noun(["horse", "horses"], ["cheval", "chevaux"], Masculine, Kind::Animal),
    noun(["hero", "heroes"], ["héros", "héros"], Masculine, Kind::Companion),
    // … which begin with a vowel sound.
    noun(["man", "men"], ["homme", "hommes"], Masculine, Kind::Person),
    noun(["child", "children"], ["enfant", "enfants"], Masculine, Kind::Companion),
    noun(["friend", "friends"], ["ami", "amis"], Masculine, Kind::Companion),
    noun(["bird", "birds"], ["oiseau", "oiseaux"], Masculine, Kind::Animal),
    // Beings, feminine.
    noun(["girl", "girls"], ["fille", "filles"], Feminine, Kind::Person),
    noun(["woman", "women"], ["femme", "femmes"], Feminine, Kind::Person),
    noun(["queen", "queens"], ["reine", "reines"], Feminine, Kind::Companion),
    noun(["actress", "actresses"], ["actrice", "actrices"], Feminine, Kind::Companion),
    // The others, masculine.
    noun(["cake", "cakes"], ["gâteau", "gâteaux"], Masculine, Kind::Food),
    noun(["book", "books"], ["livre", "livres"], Masculine, Kind::Writing),
    noun(["hat", "hats"], ["chapeau", "chapeaux"], Masculine, Kind::Thing),
    place(["garden", "gardens"], ["jardin", "jardins"], Masculine, &[In, Near]),
    // … which begin with a vowel sound.
    noun(["egg", "eggs"], ["œuf", "œufs"], Masculine, Kind::Food),
    place(["tree", "trees"], ["arbre", "arbres"], Masculine, &[Under, Behind, Near, InFrontOf]),
    // The others, feminine.
    place(["house", "houses"], ["maison", "maisons"], Feminine, &[In, Behind, Near, InFrontOf]),
    place(["school", "schools"], ["école", "écoles"], Feminine, &[In, Behind, Near, InFrontOf]),
    place(["table", "tables"], ["table", "tables"], Feminine, &[On, Under, Near]),
    noun(["story", "stories"], ["histoire", "histoires"], Feminine, Kind::Writing),
    noun(["letter", "letters"], ["lettre", "lettres"], Feminine, Kind::Writing),
    noun(["apple", "apples"], ["pomme", "pommes"], Feminine, Kind::Food),
    noun(["key", "keys"], ["clé", "clés"], Feminine, Kind::Thing),
    noun(["flower", "flowers"], ["fleur", "fleurs"], Feminine, Kind::Thing),
    noun(["car", "cars"], ["voiture", "voitures"], Feminine, Kind::Thing),
];

/// What an adjective can be said of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    All,
    Beings,
    /// Neither people nor animals.
    Things,
    /// All but people.
    NotPeople,
}

#[derive(Debug)]
pub(super) struct Adjective {
    pub english: &'static str,
    /// Masculine; masculine before a vowel sound; feminine; then both plurals.
    pub french: [&'static str; 5],
    /// Whether it stands before the noun in French.
    pub before: bool,
    pub scope: Scope,
}

const fn adjective(
    english: &'static str,
    french: [&'static str; 5],
    before: bool,
    scope: Scope,
) -> Adjective {
    Adjective { english, french, before, scope }
}

pub(super) const ADJECTIVES: [Adjective; 12] = [
    adjective("big", ["grand", "grand", "grande", "grands", "grandes"], true, Scope::All),
    adjective("small", ["petit", "petit", "petite", "petits", "petites"], true, Scope::All),
    adjective("old", ["vieux", "vieil", "vieille", "vieux", "vieilles"], true, Scope::All),
    adjective("beautiful", ["beau", "bel", "belle", "beaux", "belles"], true, Scope::All),
    adjective(
        "new",
        ["nouveau", "nouvel", "nouvelle", "nouveaux", "nouvelles"],
        true,
        Scope::Things,
    ),
    adjective("young", ["jeune", "jeune", "jeune", "jeunes", "jeunes"], true, Scope::Beings),
    adjective("black", ["noir", "noir", "noire", "noirs", "noires"], false, Scope::NotPeople),
    adjective(
        "white",
        ["blanc", "blanc", "blanche", "blancs", "blanches"],
        false,
        Scope::NotPeople,
    ),
    adjective("red", ["rouge", "rouge", "rouge", "rouges", "rouges"], false, Scope::NotPeople),
    adjective(
        "strange",
        ["étrange", "étrange", "étrange", "étranges", "étranges"],
        false,
        Scope::All,
    ),
    adjective(
        "happy",
        ["heureux", "heureux", "heureuse", "heureux", "heureuses"],
        false,
        Scope::Beings,
    ),
    adjective(
        "tired",
        ["fatigué", "fatigué", "fatiguée", "fatigués", "fatiguées"],
        false,
        Scope::Beings,
    ),
];

/// How the passé composé is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Auxiliary {
    /// With "avoir": the participle agrees with a direct object pronoun before it.
    Avoir,
    /// With "être": the participle agrees with the subject.
    Etre,
    /// With "être" and a reflexive pronoun.
    Reflexive,
}

use Auxiliary::{Avoir, Etre, Reflexive};

#[derive(Debug)]
pub(super) struct Verb {
    /// Infinitive, third person singular of the present, simple past.
    pub english: [&'static str; 3],
    /// What follows the English verb, such as "for" in "look for"; may be empty.
    pub particle: &'static str,
    /// Present with "je", "il" and "ils".
    pub present: [&'static str; 3],
    /// To which the endings of the future are added.
    pub future_stem: &'static str,
    /// Masculine singular.
    pub participle: &'static str,
    pub auxiliary: Auxiliary,
    /// What can do it.
    pub subjects: &'static [Kind],
    /// What it can be done to; none for an intransitive verb.
    pub objects: &'static [Kind],
    /// Whether it is done with somebody.
    pub sociable: bool,
    /// Whether the French object has "à" before it and its pronouns are "lui" and "leur".
    pub indirect: bool,
}

const BEINGS: &[Kind] = &[Kind::Animal, Kind::Person, Kind::Companion];
const ALL: &[Kind] = &[
    Kind::Animal,
    Kind::Person,
    Kind::Companion,
    Kind::Food,
    Kind::Writing,
    Kind::Thing,
    Kind::Place,
];
const GOODS: &[Kind] = &[Kind::Food, Kind::Writing, Kind::Thing];

const fn verb(
    english: [&'static str; 3],
    particle: &'static str,
    present: [&'static str; 3],
    future_stem: &'static str,
    participle: &'static str,
    auxiliary: Auxiliary,
    objects: &'static [Kind],
) -> Verb {
    Verb {
        english,
        particle,
        present,
        future_stem,
        participle,
        auxiliary,
        subjects: BEINGS,
        objects,
        sociable: true,
        indirect: false,
    }
}

/// No English verb whose past is spelt like its infinitive: "they put" would have two tenses.
pub(super) const VERBS: [Verb; 15] = [
    Verb {
        sociable: false,
        ..verb(
            ["sleep", "sleeps", "slept"],
            "",
            ["dors", "dort", "dorment"],
            "dormir",
            "dormi",
            Avoir,
            &[],
        )
    },
    verb(
        ["sing", "sings", "sang"],
        "",
        ["chante", "chante", "chantent"],
        "chanter",
        "chanté",
        Avoir,
        &[],
    ),
    verb(
        ["arrive", "arrives", "arrived"],
        "",
        ["arrive", "arrive", "arrivent"],
        "arriver",
        "arrivé",
        Etre,
        &[],
    ),
    verb(
        ["leave", "leaves", "left"],
        "",
        ["pars", "part", "partent"],
        "partir",
        "parti",
        Etre,
        &[],
    ),
    Verb {
        subjects: ALL,
        ..verb(
            ["fall", "falls", "fell"],
            "",
            ["tombe", "tombe", "tombent"],
            "tomber",
            "tombé",
            Etre,
            &[],
        )
    },
    Verb {
        sociable: false,
        ..verb(
            ["wake", "wakes", "woke"],
            "up",
            ["réveille", "réveille", "réveillent"],
            "réveiller",
            "réveillé",
            Reflexive,
            &[],
        )
    },
    verb(["see", "sees", "saw"], "", ["vois", "voit", "voient"], "verr", "vu", Avoir, ALL),
    verb(["love", "loves", "loved"], "", ["aime", "aime", "aiment"], "aimer", "aimé", Avoir, ALL),
    verb(
        ["look", "looks", "looked"],
        "for",
        ["cherche", "cherche", "cherchent"],
        "chercher",
        "cherché",
        Avoir,
        ALL,
    ),
    verb(
        ["find", "finds", "found"],
        "",
        ["trouve", "trouve", "trouvent"],
        "trouver",
        "trouvé",
        Avoir,
        ALL,
    ),
    verb(
        ["lose", "loses", "lost"],
        "",
        ["perds", "perd", "perdent"],
        "perdr",
        "perdu",
        Avoir,
        GOODS,
    ),
    verb(
        ["buy", "buys", "bought"],
        "",
        ["achète", "achète", "achètent"],
        "achèter",
        "acheté",
        Avoir,
        GOODS,
    ),
    verb(
        ["eat", "eats", "ate"],
        "",
        ["mange", "mange", "mangent"],
        "manger",
        "mangé",
        Avoir,
        &[Kind::Food],
    ),
    verb(
        ["write", "writes", "wrote"],
        "",
        ["écris", "écrit", "écrivent"],
        "écrir",
        "écrit",
        Avoir,
        &[Kind::Writing],
    ),
    Verb {
        indirect: true,
        ..verb(
            ["talk", "talks", "talked"],
            "to",
            ["parle", "parle", "parlent"],
            "parler",
            "parlé",
            Avoir,
            BEINGS,
        )
    },
];
