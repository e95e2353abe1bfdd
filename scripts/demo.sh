#!/usr/bin/env bash
# Run everything on a small synthetic dataset, in a separate virtual environment: images with VOC
# annotations -> TFRecords -> training -> evaluation -> SavedModel -> boxes in images that the model
# has not seen.
#
#   scripts/demo.sh [output directory]        default: demo_output
#
# STEPS=60 scripts/demo.sh trains for fewer steps.
set -euo pipefail
source "$(dirname "$0")/common.sh"
OUTPUT="$(mkdir -p "${1:-demo_output}" && cd "${1:-demo_output}" && pwd)"
STEPS="${STEPS:-300}"
make_venv
install "$ROOT"

# Outside of the sources, so that the installed package runs.
cd "$OUTPUT"
CONFIG="$ROOT/samples/configs/faster_rcnn_mobilenet_v1_synthetic.config"
DATA="$OUTPUT/data"
LABELS="$OUTPUT/label_map.pbtxt"
MODEL="$OUTPUT/model"
EXPORT="$OUTPUT/export"
rm -rf "$DATA" "$MODEL" "$EXPORT" "$OUTPUT/detections"

step() { printf '\n== %s\n' "$1"; }
seconds_at_start=$SECONDS

step "1/6 Drawing images with VOC annotations"
create_synthetic_voc --output_dir="$DATA" --num_train=240 --num_val=40 --seed=1

step "2/6 Annotations to TFRecords"
for set in train val; do
  create_pascal_tf_record --data_dir="$DATA" --set="$set" \
    --label_map_path="$DATA/label_map.pbtxt" --output_path="$OUTPUT/$set.record"
done
cp "$DATA/label_map.pbtxt" "$LABELS"

PATHS=(
  --override="train_input_reader.tf_record_input_reader.input_path=$OUTPUT/train.record"
  --override="train_input_reader.label_map_path=$LABELS"
  --override="eval_input_reader[0].tf_record_input_reader.input_path=$OUTPUT/val.record"
  --override="eval_input_reader[0].label_map_path=$LABELS"
)

step "3/6 Training $STEPS steps"
model_main_tf2 --pipeline_config_path="$CONFIG" --model_dir="$MODEL" \
  --num_train_steps="$STEPS" "${PATHS[@]}"

step "4/6 Evaluation on unseen images"
model_main_tf2 --pipeline_config_path="$CONFIG" --model_dir="$MODEL" \
  --checkpoint_dir="$MODEL" --eval_once "${PATHS[@]}"

step "5/6 Export to a SavedModel"
exporter_main_v2 --pipeline_config_path="$CONFIG" --trained_checkpoint_dir="$MODEL" \
  --output_directory="$EXPORT" "${PATHS[@]}"

step "6/6 Detecting in six of them"
head -n 6 "$DATA/ImageSets/Main/val.txt" | sed "s|.*|$DATA/JPEGImages/&.jpg|" >"$OUTPUT/images.txt"
IMAGES=()
while read -r image; do IMAGES+=(--images="$image"); done <"$OUTPUT/images.txt"
detect_objects --saved_model_dir="$EXPORT/saved_model" \
  "${IMAGES[@]}" --output_dir="$OUTPUT/detections" --min_score=0.5

step "Done in $((SECONDS - seconds_at_start)) s after installation. Look at:"
find "$OUTPUT/detections" -name '*.jpg' -o -name '*.png' | sort
