"""The example bot's memory: which notes answer a question, for each person alone."""

from cogmeter_bot.services.memory import MAX_NOTES, MAX_PEOPLE, Memory


def test_the_note_that_shares_the_rare_word_comes_first():
    memory = Memory()
    memory.remember(1, "Ada wrote the first program")
    memory.remember(1, "The program of the evening: pizza")
    hits = memory.recall(1, "Who is Ada, and which program did she write?")
    assert [hit.text for hit in hits] == ["Ada wrote the first program", "The program of the evening: pizza"]
    assert 0 < hits[1].score < hits[0].score <= 1


def test_a_person_gets_only_notes_of_their_own():
    memory = Memory()
    memory.remember(1, "the key is under the mat")
    assert memory.recall(2, "key") == []


def test_a_question_without_a_known_word_finds_nothing():
    memory = Memory()
    memory.remember(1, "the key is under the mat")
    assert memory.recall(1, "what is the") == []


def test_only_the_latest_notes_of_a_person_are_kept():
    memory = Memory()
    counts = [memory.remember(1, f"note number{number}") for number in range(MAX_NOTES + 1)]
    assert counts[-1] == MAX_NOTES
    assert memory.recall(1, "number0") == []


def test_the_person_unused_for_longest_makes_room():
    memory = Memory()
    for person in range(MAX_PEOPLE):
        memory.remember(person, "tea")
    memory.remember(0, "tea again")
    memory.remember(MAX_PEOPLE, "tea")
    assert memory.recall(1, "tea") == []
    assert memory.recall(0, "tea")
