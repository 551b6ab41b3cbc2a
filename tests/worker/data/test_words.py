"""Words as tokens."""

from worker.data.tokenizers import BEGIN_TOKEN, PADDING_TOKEN, UNKNOWN_TOKEN, learn_words, special_tokens, words_of

TEXT = "The dog's dog, the DOG; a cat — naïve. don\u2019t o'er\nthe end"


def test_words_are_cut_at_space_and_punctuation_and_keep_their_apostrophes() -> None:
    tokenizer = learn_words([TEXT], 100, min_count=1, lowercase=True)
    words = "the dog's dog , the dog ; a cat — naïve . don\u2019t o'er the end"
    assert tokenizer.encode(TEXT).tokens == words.split()


def test_case_is_kept_where_it_is_asked_for() -> None:
    assert learn_words([TEXT], 100, min_count=1, lowercase=False).encode("The DOG").tokens == ["The", "DOG"]


def test_rare_words_are_unknown_and_the_most_frequent_come_first() -> None:
    tokenizer = learn_words([TEXT], 100, min_count=2, lowercase=True)
    assert words_of(tokenizer) == {"the": 3, "dog": 4}
    assert tokenizer.encode("the cat").tokens == ["the", UNKNOWN_TOKEN]


def test_the_size_counts_the_specials() -> None:
    tokenizer = learn_words([TEXT], 5, min_count=1, lowercase=True)
    assert tokenizer.get_vocab_size() == 5
    assert [tokenizer.id_to_token(token) for token in special_tokens(tokenizer)] == [
        BEGIN_TOKEN,
        PADDING_TOKEN,
        UNKNOWN_TOKEN,
    ]


def test_a_special_name_in_a_text_is_text() -> None:
    tokenizer = learn_words([TEXT, BEGIN_TOKEN], 100, min_count=1, lowercase=True)
    assert tokenizer.encode(BEGIN_TOKEN).tokens == ["<", "|", "begin", "|", ">"]
