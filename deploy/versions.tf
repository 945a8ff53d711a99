terraform {
  # 1.11 introduced write-only arguments, which keep secrets out of the state.
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # The version that the tests use.
      version = "5.100.0"
    }
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = merge({ Application = var.name }, var.tags)
  }
}

data "aws_caller_identity" "this" {}
