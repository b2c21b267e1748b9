"""The selectors that came with lineal while one went by the digest of its whole file: their canonical form, and that digest.

Row ids were made from these digests, and manifests name them. A selector that is written from now on needs no line here, but one
whose query is corrected without a change to what it gave: it keeps the digest that it had.
"""

from __future__ import annotations

KEY_DIGITS = 16
NAMED_BEFORE = {
    "d9715791a0dd9984": "3937324381d8f90741d2cab2fe2854c61b3b340c9ffe09cc723d0b70f672da5a",  # above_threshold
    "728f42bd48a08c41": "e55bf28f83c7d86429cc74e77af2fb11610a36a62eb8591c6e194627bcd9d6a8",  # agrees_with_vote
    "943cd744cad314d6": "660ad94f8a432d704ae4e75a0e61f9e30be6a5a4404def2ab75bcd0c3c0d98af",  # answers_of_others
    "c645899cf904da67": "8eb2fafd9b9d250941aef2e1ec855391849e69db2b09972b7b163f3209fe883d",  # apt_refusals
    "5dc79c6963a15bfd": "cd648a789f836f77dc77f4b8b888e65e10e851432e83c60575cb977760d6e3cf",  # as_asked
    "48ae4b49c0983e04": "3bbddee0a92589b51b71b7cb223218ab6508c646ee25559bfb35b78401e895ae",  # balance_head_and_tail
    "6e1e8ed57ed8fd9d": "ebbd2ced3a03e028c2f875c60a2aee6fd62d161fc2133405040787bac8efe6ef",  # balance_tasks
    "4307550432fb9ece": "2715f3e95b544f19ba522060b314c737902fb21f9a1bedc8b1553b8d7fd4fb8c",  # beside_prompt
    "c041d6e049a3c936": "ba9a6c601c59176bb74e2bbf38a40d8f999dafccd3544b28ee74b980b99405bb",  # best_against_worst
    "a39e3f8704915f11": "a8b0b9516fc161864044ada7db6631b00ecaeb64e95746b4a51615932d1fb777",  # by_verdict
    "c846695734167fc8": "579bc76426042ffa6eab6138194186d5333001bc2833ad88348ff6179088b829",  # confidence_weights
    "d0d9d4d584ebc4c3": "88963270c948a46fba978bbaa4d316c34b3789723bd7f70bc743e18cdb23a178",  # consistent
    "6288c7ca34a8103c": "866fcf4a23d4ff8a3e30f9083a9a90ae319c4f72ecf65f71a53bedbce0e3e019",  # correct_against_incorrect
    "95f2790ebd75ab68": "2a6289578b21f051eac36339eea32c58542041d5384b5effb52e5ef7ad1bb6d5",  # critic_rows
    "491083208af9988d": "882426d286102a3da5220c3b743e0203f7551efc3ee738783e2fb16d899dec28",  # deduplicate
    "20506a9c60abf680": "c049726ea19b200b8e028304797c61ddc2f2bfe45d5784217b199fe2d69790ca",  # demonstrations
    "efe231f6e30759ed": "071084308b3afa63ea6aaec0363bd55f9edd6a17f4d6b3706e81a24a5087e0d0",  # diverse_set
    "43deff1a0a97f97d": "9c69b8b06403ffc0155621d1c0321e39c64c0a87e37e5dee399295ab34ca79f4",  # duel_winner_against_loser
    "d60704f4af67cf3a": "57b32a981dee08d7dfe9f7b3dac3c6be5fd9c052046500f3ef9b2167235606d0",  # duels
    "6b41ff5e9c37e207": "a2192d727e2a63622b5926040132884b99f2f34c57467eff83bd8f30ed6fb339",  # entropy_weights
    "43a93902383bb35f": "e7a213b4ea3c52697e5adf1fe42db1e7cf55ed6a299a61126003d39e587d5dc0",  # first_of_each_prompt
    "08dcb015d03a71d6": "cf961e7e6be6925448af432394a82742b2badbae670b8306706d789106e0e474",  # gather, corrected
    "d9ba442464ecbbd6": "a054c7f80a1ab1e1c434bcde9a357933e01c1be512d0518dba85fac056e17253",  # hindsight
    "8a5a77d6a4e45a96": "c290c03fff05c7e263355b27ca03ec1f4c999d3c84295e63ffe45a55d374a99b",  # improving
    "a096cde63ab7969e": "c1bc80167745ed0867c4718ef2cc6c716f549ddab492fbb81f04290fd0884359",  # keep_all
    "16dd8fb8ac5e63af": "230b3f2f3d045f99e282421b7bcbdd20b0bfbb52be1dcfbc0ee1238c8d5e555e",  # keep_as_many
    "81dbc28b55949080": "49d26382c398ae73a20599fd2e497c3f7fabece1b9154de89d0e92d26404a0f0",  # keep_correct
    "bf4929ebfc005890": "6c9543a865b2593c502284a5f6baf6f03e2a464fcf3defb8d1eef593b7348498",  # length_filter
    "850eadf30d17cae3": "a2aadb6bb51254c68ddcd363211f45f2f53c14f19f0b1886e6dbb43abc28c7c7",  # length_margin
    "0a771593551a7511": "b20c4aaccfd051963e90ffc46a0f9ad3ab33afbc6fc44297341e238aa3c0db03",  # letter_follow_ups
    "fdc721aaf331922c": "8eab4cf1cfd746515dc057411a3f5ade7c36e33c0188985be2e955e595a31042",  # mbr
    "52680e14a7a9f091": "597b96ccdf8f3ca8fefd92cd62ec3df9873227a9d744e33e4811df8f040924ce",  # most_against_least_voted
    "1931ba5c3c8280f9": "8268c5b5dfcf32a34e5ec19bef9006a86b842690835b10ebafec49e33573a52a",  # most_disputed
    "c34bc14077bcaa2b": "bcd6e4cb897e575593a4fbd4d888d77aa3f9a75e550bf37fcd617c65b48f9d5a",  # nearest_difficulty
    "be4f535509f62909": "41bb9c117cfc275b1b5db0774bd35f333e31c2794c242f3a9216a947e01f0bad",  # new_prompts
    "77ecb23dbac616e1": "710bd8f959ab6da4147c4766e453e34ec21ca1f6cd524ef3c9a6cfe8222b6984",  # option_follow_ups
    "833dbcfdba9086a1": "f3b1162e73b96243335756426e5e469f1eb17f7404420635ed5eb87dcebe9817",  # own_against_reference
    "a34d12f6b766a80f": "2251eafa9621b73321227a372b4d0c398e0ccdc3847902c4aa0484e2f977cd0b",  # pass_rate_band
    "cc007ee7dc88fb46": "d1a148a218ccb4370246d80f0c2fa4c85a12f6ac93352de083b2e84bb099b7ba",  # prioritized_replay
    "22882beb14ffd0b4": "8daad64e1f77782345acbbf278bb6e0c0f0b14f95ad7ddcdfd7615f311a6cf34",  # prompts_without_pass
    "18e7675b30d44201": "4d37f95b63e22de306e9e06da71a1680f6cb0875a183e4c19b018b09cb024650",  # rate_prompts
    "aa3830abad7aecab": "3b959fed2dbe272a6d4b59dfddbea082c99b6abd826424a65d8e6d4a757c7b1e",  # refuse_unsolved
    "18a16568e39a0df1": "5ed14e545f3a5208a43a0d7a447237b6005fad40c38f0057fb59a424123bcfd0",  # replay
    "41c5ba0d58cb8177": "9922f72d09114033412758cc91109a1991c4f0fbcdc85e5dec4a4fa5103a7fae",  # score_of_children
    "94aec5f130109b6c": "8861488a822ed932c4738d624dab657d8ab407cdab74991bde10ebd721d21fda",  # slow_to_fast
    "06aead8bdd9dc447": "ec6a5ba85f37a261674fd678d741b66620d6b6af80d1a540e633487680dd01cd",  # split_thought
    "fc61d528970479df": "48f67731f045c4dbca23f480cf879bed8f6bb7710ad599df877bdf068f63eaff",  # verdicts_as_labels
    "b8f6818498904f50": "efade75f5355533f70fa878f8f65d1d2ecdccd3ebd77fa55194098726231f789",  # vote_margin
    "77c91b03cacff859": "bdd063af5f118c318cdb3305a530bf74f1c1e0740f341920872007794684d1b7",  # with_hint
    "890c4a049f48d188": "8b8ad1ec28f1a3c66a9dcb834b2648b39a60543fe3a9730f60fcca7b06e784ee",  # with_replay
}
