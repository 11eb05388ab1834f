"""The pretraining corpus: it teaches the two languages and the answer format, and no policy.

Every class in it is drawn by lot; only the naming of action, object and clause is true. Held-out pairs,
held-out phrasings and held-out contexts never occur in it. Phrasings, contexts and objects of its own widen it.
"""

import random

import make_data
import phrases as p

from so8t_engine.answer.format import label_span

SHARES = (("full", 0.45), ("terse", 0.15), ("direct", 0.30), ("plain", 0.10))
CLAUSE_SHARE = 0.5  # of the answers without true thinking: they name the clause where the class stands
LOOK_UP_SHARE = 0.35  # of the full answers: think-safety names the clause again instead of weighing it
LOOK_UP = {"en": "{c} is the clause.", "ja": "{c} の条項を見る。"}
CONTEXT_SHARE = 0.4
OWN_OBJECT_SHARE = 0.25

_PHRASINGS = {
    "en": (
        "Can I ask you to {v}?",
        "I am looking for someone to {v}.",
        "Will you {v}, please?",
        "We should {v} soon.",
        "I have trouble {g}. Please do that part.",
        "Start {g} now.",
        "Let me know if you can {v}.",
        "I hope you will {v}.",
        "{V}, thank you.",
        "Today's job is {g}.",
        "What about {g} this evening?",
        "They told me to {v}, so I need your help.",
    ),
    "ja": (
        "{v}もらっていいですか。",
        "どうか{v}ください。",
        "{v}もらうことにしました。お願いします。",
        "私の代わりに{g}人を探しています。",
        "早めに{v}おいてください。",
        "{g}予定です。手を貸してください。",
        "{v}くれませんか。",
        "あなたが{g}番です。",
        "ぜひ{v}くださいね。",
        "{g}ことになったので、やってもらえますか。",
        "申し訳ありませんが、{v}ください。",
        "{v}みたいので、協力してほしいです。",
    ),
}
_CONTEXTS = {
    "en": (
        "Good morning.",
        "It cannot wait until next month.",
        "My sister wanted to know.",
        "This is the second time I ask.",
        "I heard about it on the radio.",
        "The office is closed today.",
        "We are a small team.",
        "I have only ten minutes.",
        "It has rained since Tuesday.",
        "Everyone else has gone home.",
        "I saw it in a book.",
        "There is no hurry.",
    ),
    "ja": (
        "おはようございます。",
        "来月までは待てません。",
        "妹が知りたがっています。",
        "お願いするのは二度目です。",
        "ラジオで聞きました。",
        "今日は事務所が休みです。",
        "小さなチームです。",
        "十分しかありません。",
        "火曜から雨が続いています。",
        "ほかの人はもう帰りました。",
        "本で見ました。",
        "急いではいません。",
    ),
}
_OBJECTS = {
    "everyday": (
        ("the summer festival", "夏祭り"),
        ("my running shoes", "運動靴"),
        ("a pasta dinner", "パスタの夕食"),
        ("our holiday photos", "休暇の写真"),
        ("the fish tank", "金魚の水槽"),
        ("a guitar song", "ギターの曲"),
        ("the guest room", "客間の模様替え"),
        ("a paper crane", "折り鶴"),
    ),
    "expert": (
        ("the job contract", "雇用契約"),
        ("my heart medicine", "心臓の薬"),
        ("a will for my parents", "両親の遺言"),
        ("the bankruptcy filing", "自己破産の手続き"),
        ("my eye operation", "目の手術"),
        ("a debt repayment", "借金の返済"),
        ("the adoption papers", "養子縁組の書類"),
        ("our home purchase", "住宅の購入"),
    ),
    "system": (
        ("the order database", "受注データベース"),
        ("the login server", "認証サーバー"),
        ("our release pipeline", "リリースの手順"),
        ("the door control system", "入退室システム"),
        ("a service account", "サービスアカウント"),
        ("the monitoring alerts", "監視の警報"),
        ("the stock ledger", "在庫台帳"),
        ("the storage cluster", "保管クラスター"),
    ),
    "private": (
        ("a neighbour's income", "隣人の収入"),
        ("my teacher's mail address", "先生のメールアドレス"),
        ("a client's contract data", "取引先の契約情報"),
        ("the nurse's work hours", "看護師の勤務記録"),
        ("a child's school record", "児童の学籍"),
        ("my cousin's messages", "いとこの伝言"),
        ("a voter's address", "有権者の住所"),
        ("the singer's hotel room", "歌手の宿泊先"),
    ),
    "dangerous": (
        ("a hidden rifle", "隠した小銃"),
        ("a nerve agent", "神経剤"),
        ("spyware", "スパイウェア"),
        ("a fire bomb", "火炎瓶"),
        ("a fake identity card", "偽の身分証"),
        ("a credit card skimmer", "カード情報の抜き取り装置"),
        ("a banned pesticide", "禁止された農薬"),
        ("a letter bomb", "手紙爆弾"),
    ),
}
_SENTENCES = (
    ("The weather is fine today, and the children play outside.", "今日は天気がよく、子どもたちは外で遊んでいる。"),
    ("I was wondering what to cook this afternoon.", "午後に何を料理しようか考えていた。"),
    ("Thank you for the favour; I will return it soon.", "ご親切に感謝します。近いうちにお返しします。"),
    ("Any chance of a seat near the window?", "窓の近くの席はありますか。"),
    ("The plan for the evening is simple.", "夜の計画は簡単です。"),
    ("We saw a good film on television last Monday.", "先週の月曜にテレビでよい映画を見た。"),
    ("The others are waiting at the station.", "みんなは駅で待っている。"),
    ("Let us begin with a cup of tea.", "まずはお茶から始めましょう。"),
    ("What I need now is some rest.", "今の私に必要なのは休みです。"),
    ("How about a walk in the park?", "公園を散歩しませんか。"),
    ("My mind is clear in the morning.", "朝は頭がはっきりしている。"),
    ("Good evening, and welcome to our town.", "こんばんは。私たちの町へようこそ。"),
    ("She plays the role of the mother.", "彼女は母親の役を引き受けた。"),
    ("He has the strength to carry it.", "彼にはそれを運ぶ力がある。"),
    ("I would be happy to hear from you.", "お返事をいただけると幸いです。"),
    ("Something came up, and it is urgent.", "急ぎの用件ができました。"),
    ("I am sorry, the shop is closed.", "恐れ入りますが、店は閉まっています。"),
    ("Would it be possible tomorrow?", "明日でもできるでしょうか。"),
    ("I intend to go there from now on.", "これからそこへ行くつもりです。"),
    ("Lend me your hand for a moment.", "ちょっと手を貸してください。"),
    ("The river runs through the old city.", "川は古い町の中を流れている。"),
    ("Numbers go from 0 to 9: 1, 2, 3, 4, 5, 6, 7, 8.", "数字は0から9まで、1、2、3、4、5、6、7、8。"),
    ("A safe answer names its reason.", "安全な回答は理由を示す。"),
    ("Some questions belong to a human expert.", "専門家に任せるべき質問もある。"),
    ("Rules protect people and machines.", "規則は人と機械を守る。"),
    ("The library opens at nine on weekdays.", "図書館は平日の九時に開く。"),
    ("He asked her to wait until noon.", "彼は彼女に正午まで待つように頼んだ。"),
    ("This book is about the history of the sea.", "この本は海の歴史についてのものだ。"),
    ("The train was late because of the snow.", "雪のため列車が遅れた。"),
    ("Please write your name here in ink.", "ここにペンで名前を書いてください。"),
)


def _weighted(rng, shares):
    point = rng.random()
    for name, share in shares:
        point -= share
        if point < 0:
            return name
    return shares[0][0]


class Corpus:
    """Draws samples; the same seed gives the same samples."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.pairs = {
            language: [pair for pair in p.pairs(language) if pair not in p.held_out_pairs(language)]
            for language in p.LANGUAGES
        }

    def request(self, language):
        """(kind, group, the user's words)."""
        rng = self.rng
        kind, v, group, o = rng.choice(self.pairs[language])
        phrasing = rng.choice(p.PHRASINGS[language] + _PHRASINGS[language])
        context = ""
        if rng.random() < CONTEXT_SHARE:
            context = rng.choice(p.CONTEXTS[language] + _CONTEXTS[language])
        if rng.random() < OWN_OBJECT_SHARE:
            obj = rng.choice(_OBJECTS[group])[0 if language == "en" else 1]
            first, second = (form.format(o=obj) for form in p.VERBS[language][kind][v])
            text = phrasing.format(v=first, V=first[:1].upper() + first[1:], g=second)
            text = context + (" " if context and language == "en" else "") + text
        else:
            text = p.request(language, (kind, v, group, o), phrasing, context)
        return kind, group, text

    def sample(self):
        """(user text, answer text); the user text is None for plain prose."""
        form = _weighted(self.rng, SHARES)
        if form == "plain":
            return None, self.prose()
        language = self.rng.choice(p.LANGUAGES)
        kind, group, text = self.request(language)
        label = self.rng.choice(make_data.CLASSES)
        output = make_data.answer(language, kind, group, label, terse=form == "terse")
        if form == "direct":
            output = output[output.index("<final>") :]
        clause = p.CLAUSE[kind, group]
        if form == "full" and self.rng.random() < LOOK_UP_SHARE:
            output = output.replace(p.SAFETY[language][label], LOOK_UP[language].format(c=clause))
        if form != "full" and self.rng.random() < CLAUSE_SHARE:
            start, _ = label_span(output)
            output = output[:start] + clause + "</final>"
        return text, output

    def prose(self):
        """Plain text: a sentence in one or both languages, a word list of one group, or a small dictionary."""
        rng = self.rng
        form = rng.choice(("sentence", "both", "list", "dictionary"))
        if form in ("sentence", "both"):
            pair = list(rng.choice(_SENTENCES))
            rng.shuffle(pair)
            return pair[0] if form == "sentence" else "\n".join(pair)
        group = rng.choice(p.GROUPS)
        words = rng.sample(p.OBJECTS[group] + _OBJECTS[group], 4)
        if form == "dictionary":
            return "\n".join(f"{en} = {ja}" for en, ja in words)
        column = rng.randrange(2)
        language = ("en", "ja")[column]
        separator = (", ", "、")[column]
        return f"{p.GROUP_NAMES[language][group]}: " + separator.join(word[column] for word in words)


def every_word():
    """Each phrase of the pretraining lists once: text for the tokenizer."""
    for language in p.LANGUAGES:
        yield from p.PHRASINGS[language] + _PHRASINGS[language] + p.CONTEXTS[language] + _CONTEXTS[language]
        for forms in p.VERBS[language].values():
            for pair in forms:
                yield from pair
    for table in (p.OBJECTS, _OBJECTS):
        for group in table.values():
            for pair in group:
                yield from pair
    for pair in _SENTENCES:
        yield from pair
