"""Families and forms of checkpoints that bertedge recognises in order to refuse them by name."""

from __future__ import annotations

#: How the class names of other families begin, for files without ``model_type``.
OTHER_CLASSES = (
    *("Deberta", "NewModel", "JinaBert", "EuroBert", "NeoBERT", "RemBert", "MegatronBert", "RoFormer"),
    *("ConvBert", "MobileBert", "SqueezeBert", "Nystromformer", "Ernie", "Nezha", "LayoutLM", "Luke", "Splinter"),
    *("Longformer", "BigBird", "Funnel", "XLM", "Flaubert", "XLNet", "T5", "MT5", "UMT5", "Bart", "MBart", "Canine"),
    *("GPT", "Llama", "Mistral", "Qwen", "Gemma", "Phi"),
)
#: Tensor names that only another family has -> that family. The first match counts.
OTHER_FAMILIES: tuple[tuple[str, str], ...] = (
    (r"^mpnet\.|\.attention\.attn\.[qkvo]\.", "MPNet"),
    (r"^convbert\.|\.key_conv_attn_layer\.", "ConvBERT"),
    (r"^mobilebert\.|\.bottleneck\.", "MobileBERT"),
    (r"^(nystromformer|roformer)\.|\.self\.conv\.weight$", "Nystromformer or RoFormer"),
    (r"\.attention\.ln\.|^bert\.encoder\.ln\.", "MegatronBERT"),
    (r"^roberta\.|^xlm_roberta\.|^lm_head\.layer_norm\.", "RoBERTa"),
    (r"^attentions\.\d+\.q_lin\.|^transformer\.attentions\.", "XLM"),
    (r"^distilbert\.|\.q_lin\.", "DistilBERT"),
    (r"^albert\.|\.albert_layer_groups\.|\.embedding_hidden_mapping_in\.", "ALBERT"),
    (r"^(bert\.)?pooler\.(weight|bias)$", "BigBird"),
    (r"^electra\.|^embeddings_project\.|^(generator|discriminator)_predictions\.", "ELECTRA"),
    (r"^deberta\.|\.attention\.self\.(in_proj|query_proj)\.|\.rel_embeddings\.", "DeBERTa"),
    (r"^nomic_bert\.|^encoder\.layers\.\d+\.attn\.Wqkv", "NomicBERT"),
    (r"\.tok_embeddings\.|\blayers\.\d+\.attn\.Wqkv", "ModernBERT"),
    (r"^(camembert|flaubert|ernie|funnel|longformer|layoutlm)\.", "another BERT-like family"),
    (r"\.SelfAttention\.|\.DenseReluDense\.", "T5"),
    (r"\bh\.\d+\.attn\.c_attn\.", "GPT-2"),
    (r"\bdecoder\.layers\.\d+\.encoder_attn\.", "BART"),
    (r"\bembed_tokens\.", "a decoder such as Llama or Qwen"),
    (r"\bvision_model\.|\bpatch_embed|\btext_model\.|\btoken_embedding\.", "a vision model such as ViT or CLIP"),
)
